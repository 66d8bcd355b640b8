import { runInNewContext } from 'node:vm';
import { isAbort, toError, UserError } from './errors.ts';

describe('toError', () => {
  it('keeps errors and wraps everything else', () => {
    const error = new UserError('no such project', { kind: 'not_found', reason: 'ProjectNotFound' });
    expect(toError(error)).toBe(error);
    expect(toError('text')).toMatchObject({ message: 'text', cause: 'text' });
    expect(toError(undefined)).toMatchObject({ message: 'undefined' });
  });

  it('keeps errors of another realm', () => {
    const foreign: unknown = runInNewContext('new TypeError("foreign")');
    expect(foreign instanceof Error).toBe(false);
    expect(toError(foreign)).toBe(foreign);
  });
});

describe('isAbort', () => {
  const reason = new Error('the program stops');
  const fired = AbortSignal.abort(reason);

  it.each([
    ['the reason itself', reason, true],
    ['what was thrown because of it', new Error('request failed', { cause: reason }), true],
    ['an AbortError of a library', new DOMException('This operation was aborted', 'AbortError'), true],
    ['an unrelated failure at the same time', new Error('disk full'), false],
    ['something that is no error', 'text', false],
  ])('once the signal has fired: %s', (_what, thrown, expected) => {
    expect(isAbort(thrown, fired)).toBe(expected);
  });

  it('takes nothing for an abort as long as the signal has not fired', () => {
    expect(isAbort(new DOMException('Aborted', 'AbortError'), new AbortController().signal)).toBe(false);
  });
});
