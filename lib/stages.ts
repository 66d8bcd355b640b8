import { toError } from './errors.ts';

/** A part of a program with a lifetime. */
export interface Part {
  readonly name: string;
  /**
   * Runs until `signal` fires, then cleans up and returns. Calls `ready` once it can be used; the next stage starts
   * when every part of this one is ready. Returning or throwing earlier stops the whole program.
   */
  run(ready: () => void, signal: AbortSignal): Promise<void>;
}

export interface StagesOptions {
  /** How long one stage may take to stop before it is left behind. */
  readonly graceMs: number;
  readonly onStopping?: (reason: string) => void;
}

interface Running {
  readonly controllers: AbortController;
  readonly parts: Promise<void>[];
}

/**
 * Starts stages in order and stops them in reverse, each bounded by the grace. The first part that fails stops
 * everything; its error is the one thrown, later ones are its consequence. Resolves when `signal` fires and all stopped.
 */
export async function runStages(
  stages: readonly (readonly Part[])[],
  options: StagesOptions,
  signal: AbortSignal,
): Promise<void> {
  const running: Running[] = [];
  let failure: { readonly error: Error } | undefined;
  let stopping = false;
  const { promise: stopRequested, resolve: requestStop } = Promise.withResolvers<void>();
  const stop = (reason: string, error?: Error): void => {
    if (error !== undefined) failure ??= { error };
    if (stopping) return;
    stopping = true;
    options.onStopping?.(reason);
    requestStop();
  };
  const onSignal = (): void => stop('signal');
  signal.addEventListener('abort', onSignal, { once: true });
  if (signal.aborted) onSignal();

  for (const stage of stages) {
    if (stopping) break;
    const controller = new AbortController();
    const readies: Promise<void>[] = [];
    const parts = stage.map(async (part) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      readies.push(promise);
      try {
        await part.run(resolve, controller.signal);
        if (!controller.signal.aborted) stop(`${part.name} ended`, new Error(`${part.name} ended by itself`));
      } catch (error) {
        if (!controller.signal.aborted) stop(`${part.name} failed`, toError(error));
        else if (error !== controller.signal.reason) failure ??= { error: toError(error) };
      }
    });
    running.push({ controllers: controller, parts });
    await Promise.race([Promise.all(readies), stopRequested]);
  }

  await stopRequested;
  for (const stage of running.reverse()) {
    stage.controllers.abort(new DOMException('The program stops', 'AbortError'));
    await withinGrace(Promise.all(stage.parts), options.graceMs);
  }
  signal.removeEventListener('abort', onSignal);
  if (failure !== undefined) throw failure.error;
}

async function withinGrace(work: Promise<unknown>, graceMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const grace = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, graceMs);
  });
  await Promise.race([work, grace]);
  clearTimeout(timer);
}
