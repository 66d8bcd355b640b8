import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { createServingCertificate } from '../harness/certificate.ts';
import type { WebhookStep } from './scenario-schema.ts';

/** A validating admission webhook: a server of the test's own process, of which the API server is told by URL. */
export class Webhook implements AsyncDisposable {
  readonly #server: Server;
  readonly #ca: string;
  readonly #answer: WebhookStep;

  private constructor(server: Server, ca: string, answer: WebhookStep) {
    this.#server = server;
    this.#ca = ca;
    this.#answer = answer;
    server.on('request', (request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const review = JSON.parse(Buffer.concat(chunks).toString('utf8')) as { request: { uid: string } };
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify(this.#reviewed(review.request.uid)));
      });
    });
  }

  static async listen(answer: WebhookStep): Promise<Webhook> {
    const { cert, key } = await createServingCertificate();
    const webhook = new Webhook(createServer({ cert, key }), cert, answer);
    webhook.#server.listen(0, '127.0.0.1');
    await once(webhook.#server, 'listening');
    return webhook;
  }

  /** The object that tells the API server; it asks for objects of this namespace only. */
  configuration(namespace: string): object {
    const { port } = this.#server.address() as AddressInfo;
    const { as, operations, groups, resources } = this.#answer;
    const name = `${as}.${namespace}.example.org`;
    return {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingWebhookConfiguration',
      metadata: { name },
      webhooks: [
        {
          name,
          admissionReviewVersions: ['v1'],
          sideEffects: 'None',
          failurePolicy: 'Fail',
          timeoutSeconds: 5,
          clientConfig: { url: `https://127.0.0.1:${port}/`, caBundle: Buffer.from(this.#ca).toString('base64') },
          namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } },
          rules: [{ operations, apiGroups: groups, apiVersions: ['*'], resources }],
        },
      ],
    };
  }

  /** From now on nobody listens at its address. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #reviewed(uid: string): object {
    const { answer, message } = this.#answer;
    const response = { uid, allowed: answer === 'allow', status: { message } };
    return { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response };
  }
}
