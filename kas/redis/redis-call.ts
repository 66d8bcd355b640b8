import { ReplyError } from 'ioredis';
import { toError, UnavailableError } from '../../lib/errors.ts';

/** Answers by which Redis says that it cannot now, or not this client: everything else it refuses is a fault of ours. */
const NOT_NOW =
  /^(LOADING|BUSY|MASTERDOWN|READONLY|CLUSTERDOWN|TRYAGAIN|OOM|MISCONF|NOREPLICAS|NOAUTH|WRONGPASS|NOPERM|UNKILLABLE)/;

/** The answer of a command; UnavailableError when Redis is away or cannot answer now. */
export async function redisCall<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    const { message } = toError(error);
    if (error instanceof ReplyError && !NOT_NOW.test(message)) throw error;
    throw new UnavailableError(`Redis does not answer: ${message}`, { cause: error });
  }
}
