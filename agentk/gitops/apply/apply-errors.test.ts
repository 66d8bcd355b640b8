import { KubeError } from '../../kube/kube-error.ts';
import { classifyRefusal } from './apply-errors.ts';

describe('A refused request is classified by what is said, not by its code', () => {
  it.each([
    [
      500,
      'failed to create typed patch object (a/b; /v1, Kind=ConfigMap): .data.a: expected string, got &value.valueUnstructured{Value:1}',
      'Invalid',
      'slowly',
    ],
    [
      500,
      'failed to create typed patch object (a/b; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema',
      'Invalid',
      'slowly',
    ],
    [
      500,
      'unable to convert unstructured object to /v1, Kind=Secret: error decoding from json: illegal base64 data at input byte 0',
      'Invalid',
      'slowly',
    ],
    [500, 'Service "s" is invalid: duplicate nodePort: 30001', 'Invalid', 'slowly'],
    [500, 'Internal error occurred: failed calling webhook "w.example.org": connection refused', 'WebhookUnavailable', 'soon'],
    [
      422,
      'Service "s" is invalid: spec.clusterIPs: Invalid value: []string(nil): failed to allocate IP: Internal error occurred: failed calling webhook',
      'WebhookUnavailable',
      'soon',
    ],
    [422, 'failed to allocate a serviceIP: Internal error occurred: timeout', 'AllocationFailed', 'soon'],
    [422, 'Job.batch "j" is invalid: spec.template: Invalid value: field is immutable', 'Immutable', 'slowly'],
    [422, 'RoleBinding "b" is invalid: roleRef: Invalid value: cannot change roleRef', 'Immutable', 'slowly'],
    [422, 'ConfigMap "c" is invalid: data: Forbidden: field is immutable when `immutable` is set', 'Immutable', 'slowly'],
    [403, 'pods "p" is forbidden: exceeded quota: q, requested: pods=1', 'QuotaExceeded', 'slowly'],
    [403, 'create not allowed while custom resource definition is terminating', 'CrdTerminating', 'soon'],
    [403, 'configmaps is forbidden: User "u" cannot patch resource', 'Forbidden', 'slowly'],
    [400, 'admission webhook "w" denied the request: no', 'Denied', 'slowly'],
    [404, 'namespaces "late" not found', 'NamespaceNotFound', 'soon'],
    [404, '404 page not found', 'NotServed', 'at_once'],
    [429, 'too many requests', 'TooManyRequests', 'at_once'],
    [503, 'service unavailable', 'Unavailable', 'at_once'],
    [0, 'connect ECONNREFUSED', 'Unreachable', 'soon'],
    [418, 'teapot', 'Http418', 'slowly'],
  ])('%i %s', (code, message, reason, retry) => {
    expect(classifyRefusal(new KubeError(message, { code }))).toMatchObject({ reason, retry });
  });

  it('and by its causes', () => {
    const causes = [{ reason: 'NamespaceTerminating' }];
    const error = new KubeError('unable to create new content in namespace x', { code: 403, reason: 'Forbidden', causes });
    expect(classifyRefusal(error)).toMatchObject({ reason: 'NamespaceTerminating', retry: 'soon' });
  });
});
