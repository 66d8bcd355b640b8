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
    [
      403,
      'pods "p" is forbidden: error looking up service account n/s: serviceaccount "s" not found',
      'ServiceAccountNotFound',
      'soon',
    ],
    [403, 'pods "p" is forbidden: no PriorityClass with name x was found', 'ReferenceNotFound', 'soon'],
    [403, 'pods "p" is forbidden: pod rejected: RuntimeClass "x" not found', 'ReferenceNotFound', 'soon'],
    [403, 'pods "p" is forbidden: violates PodSecurity "restricted:latest": privileged', 'Denied', 'slowly'],
    [422, "ConfigMap \"c\" is invalid: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no", 'Denied', 'slowly'],
    [403, 'configmaps "c" is forbidden: not yet ready to handle request', 'NotReady', 'at_once'],
    [429, 'storage is (re)initializing', 'TooManyRequests', 'at_once'],
    [
      422,
      'Service "s" is invalid: spec.ports[0].nodePort: Invalid value: 31234: provided port is already allocated',
      'AlreadyAllocated',
      'soon',
    ],
    [
      422,
      'StatefulSet.apps "s" is invalid: spec: Forbidden: updates to statefulset spec for fields other than \'replicas\' are forbidden',
      'Immutable',
      'slowly',
    ],
    [
      422,
      'PriorityClass.scheduling.k8s.io "p" is invalid: value: Forbidden: may not be changed in an update.',
      'Immutable',
      'slowly',
    ],
    [422, 'Service "s" is invalid: spec.clusterIPs[0]: Invalid value: ["None"]: may not change once set', 'Immutable', 'slowly'],
    [422, 'Widget.example.org "w" is invalid: spec.size: Invalid value: "integer": size is immutable', 'Immutable', 'slowly'],
    [
      422,
      'Deployment.apps "d" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0',
      'Invalid',
      'slowly',
    ],
    [
      500,
      'failed to convert new object (n/s; /v1, Kind=Secret) to proper version: unable to convert unstructured object',
      'Invalid',
      'slowly',
    ],
    [500, 'conversion webhook for example.org/v1, Kind=Widget failed: Post: dial tcp: refused', 'WebhookUnavailable', 'soon'],
    [500, 'etcdserver: request is too large', 'TooLarge', 'slowly'],
    [409, 'object is being deleted: configmaps "c" already exists', 'Terminating', 'soon'],
    [409, 'Operation cannot be fulfilled on configmaps "c": the object has been modified', 'Conflict', 'soon'],
    [418, 'teapot', 'Http418', 'slowly'],
  ])('%i %s', (code, message, reason, retry) => {
    expect(classifyRefusal(new KubeError(message, { code }))).toMatchObject({ reason, retry });
  });

  it('and by its causes', () => {
    const causes = [{ reason: 'NamespaceTerminating' }];
    const error = new KubeError('unable to create new content in namespace x', { code: 403, reason: 'Forbidden', causes });
    expect(classifyRefusal(error)).toMatchObject({ reason: 'NamespaceTerminating', retry: 'soon' });
  });

  it('a claim that is not bound yet may be resized soon, and never otherwise', () => {
    const about =
      'PersistentVolumeClaim "d" is invalid: spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n';
    const size = ' "Resources": {\n  "Requests": {\n-   "storage": "1Gi"\n+   "storage": "2Gi"\n  }\n';
    const classify = (message: string) => classifyRefusal(new KubeError(message, { code: 422, reason: 'Invalid' }));
    expect(classify(`${about}@@ -6,7 +6,7 @@\n${size}`)).toMatchObject({ reason: 'ClaimNotBound', retry: 'soon' });
    expect(classify(`${about}@@ -1,6 +1,6 @@\n {\n-  "ReadWriteOnce"\n+  "ReadWriteMany"\n  ],\n`)).toMatchObject({
      reason: 'Immutable',
    });
  });
});
