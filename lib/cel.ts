import { createContext, Script } from 'node:vm';
import { Environment, EvaluationError, ParseError, type ParseResult } from '@marcbachmann/cel-js';
import { toError, UserError } from './errors.ts';

/** Far more than a person writes, far less than it takes to keep the process busy. */
const LIMITS = { maxAstNodes: 500, maxDepth: 32, maxListElements: 100, maxMapEntries: 100, maxCallArguments: 8 };
/**
 * Regular expressions and loops over lists can take for ever, whatever the size of the expression. The clock on the wall
 * counts, so a good expression must have time enough on a machine that is busy.
 */
const TIME_LIMIT_MS = 500;

const environment = new Environment({ limits: LIMITS }).registerVariable('object', 'dyn');
/** What an object does not have (yet) makes an expression about it untrue, not wrong. */
const ABSENT: ReadonlySet<string> = new Set(['no_such_key', 'index_out_of_bounds']);

// A call within a script can be interrupted, a regular expression that it is in the middle of included. Making a context
// costs more than most expressions, so they share one, one after another.
const CALL = new Script('run()');
const sandbox: { run?: () => unknown } = {};
const context = createContext(sandbox);

/**
 * A question about an object, in the Common Expression Language
 * (https://github.com/google/cel-spec/blob/master/doc/langdef.md), with `object` as its one variable.
 */
export class ObjectExpression {
  readonly text: string;
  readonly #program: ParseResult;

  /** Throws a `UserError` that says what is wrong with the text: syntax, an unknown name, a type that does not fit. */
  constructor(text: string) {
    this.text = text;
    this.#program = parse(text);
    const { valid, type = '', error } = this.#program.check();
    if (!valid) throw new UserError(`is no valid CEL expression: ${summaryOf(error)}; correct it`);
    if (type !== 'bool' && type !== 'dyn') throw new UserError(`yields ${type} instead of true or false; write a comparison`);
  }

  /** False also where the object lacks what is asked about. Throws a `UserError` when there is no answer, or none in time. */
  isTrue(object: unknown): boolean {
    const answer = this.#evaluate(asCel(object));
    if (typeof answer === 'boolean') return answer;
    throw new UserError(`yields ${typeof answer} instead of true or false; write a comparison`);
  }

  #evaluate(object: unknown): unknown {
    sandbox.run = () => this.#program({ object });
    try {
      return CALL.runInContext(context, { timeout: TIME_LIMIT_MS });
    } catch (error) {
      if (error instanceof EvaluationError && ABSENT.has(error.code)) return false;
      if ((error as { code?: unknown }).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') {
        throw new UserError(`takes longer than ${TIME_LIMIT_MS} ms; make it simpler`, { reason: 'Timeout' });
      }
      throw new UserError(`cannot be evaluated: ${summaryOf(error)}; correct it`);
    } finally {
      // Nothing of the object is kept.
      delete sandbox.run;
    }
  }
}

function parse(text: string): ParseResult {
  try {
    return environment.parse(text);
  } catch (error) {
    throw new UserError(`is no valid CEL expression: ${summaryOf(error)}; correct it`);
  }
}

/** One line: the full message draws the expression with a marker below. */
function summaryOf(error: unknown): string {
  if (error instanceof ParseError || error instanceof EvaluationError) return error.summary;
  return toError(error).message.split('\n')[0] ?? '';
}

/** Whole numbers of JSON are CEL's `int`, as they are to the API server. */
function asCel(value: unknown): unknown {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (Array.isArray(value)) return value.map(asCel);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, asCel(part)]));
}
