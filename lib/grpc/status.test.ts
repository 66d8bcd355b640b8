import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { UnavailableError, UserError, type UserErrorKind } from '../errors.ts';
import { fromStatus, toStatus } from './status.ts';

/** What a client gets of a status that a server sent. */
function received(sent: ReturnType<typeof toStatus>): ServiceError {
  const { code = status.OK, details = '', metadata = new Metadata() } = sent;
  return Object.assign(new Error(`${code} ${details}`), { code, details, metadata });
}

describe('the map between errors and gRPC status codes', () => {
  it.each<[UserErrorKind, status]>([
    ['invalid', status.INVALID_ARGUMENT],
    ['not_found', status.NOT_FOUND],
    ['unauthenticated', status.UNAUTHENTICATED],
    ['forbidden', status.PERMISSION_DENIED],
    ['precondition', status.FAILED_PRECONDITION],
    ['exhausted', status.RESOURCE_EXHAUSTED],
    ['unimplemented', status.UNIMPLEMENTED],
  ])('carries a user error that is "%s" across, with message and reason', (kind, code) => {
    const sent = toStatus(new UserError('what to do', { kind, reason: 'Reason' }));
    expect(sent.code).toBe(code);
    expect(fromStatus(received(sent))).toMatchObject({ name: 'UserError', kind, message: 'what to do', reason: 'Reason' });
  });

  it('says of a bug no more than that it is one', () => {
    const sent = toStatus(new Error('password is hunter2', { cause: new Error('secret') }));
    expect(sent).toEqual({ code: status.INTERNAL, details: 'internal error' });
  });

  it('never sends the cause of an error', () => {
    const sent = toStatus(new UserError('wrong token', { kind: 'unauthenticated', cause: new Error('hunter2') }));
    expect(JSON.stringify([sent, sent.metadata?.getMap()])).not.toContain('hunter2');
  });

  it('calls whatever fails because the server stops unavailable', () => {
    const stopped = AbortSignal.abort(new Error('stop'));
    expect(toStatus(new Error('aborted'), stopped).code).toBe(status.UNAVAILABLE);
  });

  it.each([status.UNAVAILABLE, status.DEADLINE_EXCEEDED, status.CANCELLED, status.ABORTED, status.UNKNOWN, status.INTERNAL])(
    'takes code %s for something to try again',
    (code) => {
      expect(fromStatus(received({ code, details: 'gone' }))).toBeInstanceOf(UnavailableError);
    },
  );

  it('hands on what it has no meaning for', () => {
    const error = received({ code: status.DATA_LOSS, details: 'lost' });
    expect(fromStatus(error)).toBe(error);
  });
});
