import { ConfigurationRequest } from '../../proto/gen/gitlab/agent/agent_configuration/agent_configuration.ts';
import { Request } from '../../proto/gen/gitlab/agent/gitlab_access/rpc.ts';
import { ObjectsToSynchronizeRequest } from '../../proto/gen/gitlab/agent/gitops/gitops.ts';
import { METHODS, type ProbeCall } from './probe.ts';
import { PROJECT, TOKEN } from './story.ts';

/** What GitLab's Rails application says of the tokens below, other than it does by itself. */
export type RailsMood = 401 | 403 | 500 | undefined;

export interface Refusal {
  readonly name: string;
  readonly rails: RailsMood;
  readonly call: ProbeCall;
}

const configuration = (): Buffer =>
  Buffer.from(
    ConfigurationRequest.encode({
      commitId: '',
      agentMeta: { version: 'v13.8.0', commitId: 'abcdef', podNamespace: 'ns', podName: 'pod' },
    }).finish(),
  );
export const objectsRequest = (projectId: string, globs: readonly string[], commitId = ''): Buffer =>
  Buffer.from(ObjectsToSynchronizeRequest.encode({ projectId, commitId, paths: globs.map((glob) => ({ glob })) }).finish());
const part = (message: Request['message']): Buffer => Buffer.from(Request.encode({ message }).finish());

const headers = part({
  $case: 'headers',
  value: {
    moduleName: 'echo',
    method: 'POST',
    headers: { 'Content-Type': { value: ['text/plain'] } },
    urlPath: '/path',
    query: { q: { value: ['1', '2'] } },
  },
});
const data = part({ $case: 'data', value: { data: Buffer.from('hello') } });
const trailers = part({ $case: 'trailers', value: {} });

const held = { leaveAfterMs: 3_000 };
const bearer = `Bearer ${TOKEN}`;

/** The calls whose answers are recorded, each on a connection of its own, in this order. */
export const REFUSALS: readonly Refusal[] = [
  refusal('no token', { method: METHODS.configuration, requests: [configuration()] }),
  refusal('another scheme', { method: METHODS.configuration, requests: [configuration()], authorization: `Basic ${TOKEN}` }),
  refusal('401', { method: METHODS.configuration, requests: [configuration()], authorization: 'Bearer unknown' }, 401),
  refusal('403', { method: METHODS.configuration, requests: [configuration()], authorization: 'Bearer barred' }, 403),
  refusal(
    '401 for objects',
    { method: METHODS.objects, requests: [objectsRequest(PROJECT, ['**'])], authorization: 'Bearer none' },
    401,
  ),
  refusal('lower-case bearer', {
    method: METHODS.configuration,
    requests: [configuration()],
    authorization: `bearer ${TOKEN}`,
    ...held,
  }),
  refusal('no project', { method: METHODS.objects, requests: [objectsRequest('', ['**'])], authorization: bearer }),
  refusal('no paths', { method: METHODS.objects, requests: [objectsRequest(PROJECT, [])], authorization: bearer }),
  refusal('an empty glob', { method: METHODS.objects, requests: [objectsRequest(PROJECT, [''])], authorization: bearer }),
  refusal('101 paths', {
    method: METHODS.objects,
    requests: [
      objectsRequest(
        PROJECT,
        Array.from({ length: 101 }, (_, index) => `${index}.yaml`),
      ),
    ],
    authorization: bearer,
  }),
  refusal('an unknown project', {
    method: METHODS.objects,
    requests: [objectsRequest('team/unknown', ['**'])],
    authorization: bearer,
    ...held,
  }),
  refusal(
    'Rails fails, configuration',
    { method: METHODS.configuration, requests: [configuration()], authorization: 'Bearer new', ...held },
    500,
  ),
  refusal(
    'Rails fails, objects',
    { method: METHODS.objects, requests: [objectsRequest(PROJECT, ['**'])], authorization: 'Bearer newer', ...held },
    500,
  ),
  refusal('a method that is not there', {
    method: '/gitlab.agent.gitops.rpc.Gitops/Unknown',
    requests: [Buffer.alloc(0)],
    authorization: bearer,
  }),
  refusal('a service that is not there', {
    method: '/kas.agent.v1.Session/Connect',
    requests: [Buffer.alloc(0)],
    authorization: bearer,
  }),
  refusal('a request to a module', {
    method: METHODS.makeRequest,
    requests: [headers, data, data, trailers],
    authorization: bearer,
  }),
  refusal('a request with data first', { method: METHODS.makeRequest, requests: [data, trailers], authorization: bearer }),
  refusal('a request without a module', {
    method: METHODS.makeRequest,
    requests: [
      part({ $case: 'headers', value: { moduleName: '', method: 'GET', headers: {}, urlPath: '/', query: {} } }),
      trailers,
    ],
    authorization: bearer,
  }),
  refusal(
    'a request that nobody may make',
    { method: METHODS.makeRequest, requests: [headers, trailers], authorization: 'Bearer nobody' },
    401,
  ),
];

function refusal(name: string, call: ProbeCall, rails?: RailsMood): Refusal {
  return { name, call, rails };
}
