import { errorFromAnswer } from './status-error.ts';

const answer = (status: number, body: string, headers: Record<string, string> = {}) => ({
  status,
  headers,
  body: Buffer.from(body),
});

describe('errorFromAnswer', () => {
  it('takes over what a Status says', () => {
    const causes = [{ reason: 'FieldValueInvalid', message: 'Invalid value: 0', field: 'spec.replicas' }];
    const status = { kind: 'Status', message: 'Deployment "web" is invalid', reason: 'Invalid', code: 422, details: { causes } };
    expect(errorFromAnswer(answer(422, JSON.stringify(status)))).toMatchObject({
      name: 'KubeError',
      message: 'Deployment "web" is invalid',
      code: 422,
      reason: 'Invalid',
      causes,
      retryAfterMs: undefined,
    });
  });

  it.each([
    ['the header', answer(429, 'Too many requests', { 'retry-after': '1' }), 1_000],
    ['the details', answer(503, JSON.stringify({ kind: 'Status', details: { retryAfterSeconds: 3 } })), 3_000],
  ])('tells how long to wait by %s', (_, given, ms) => {
    expect(errorFromAnswer(given).retryAfterMs).toBe(ms);
  });

  it.each([
    ['text', answer(404, '404 page not found\n'), '404 page not found'],
    ['nothing', answer(502, ''), 'The API server answered HTTP 502'],
    ['JSON that is no Status', answer(500, '{"a":1}'), '{"a":1}'],
    ['a Status that is cut off', answer(500, '{"kind":"Sta'), '{"kind":"Sta'],
    ['a page', answer(503, 'x'.repeat(9_000)), 'x'.repeat(500)],
  ])('shows %s', (_, given, message) => {
    expect(errorFromAnswer(given)).toMatchObject({ code: given.status, message, reason: '', causes: [] });
  });
});
