import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { createTempDir } from './temp-dir.ts';

/** PEM. The certificate is its own authority: whoever trusts it trusts nothing else by it. */
export interface ServingCertificate {
  readonly cert: string;
  readonly key: string;
}

/** A new key and certificate, of a new name, for servers on 127.0.0.1 and localhost, and of further DNS names. */
export async function createServingCertificate(...names: readonly string[]): Promise<ServingCertificate> {
  await using directory = await createTempDir();
  const [keyFile, certFile] = [`${directory.path}/key.pem`, `${directory.path}/crt.pem`];
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', keyFile];
  const alternatives = ['IP:127.0.0.1', 'DNS:localhost', ...names.map((name) => `DNS:${name}`)];
  const subject = ['-subj', `/CN=test-${crypto.randomUUID()}`, '-addext', `subjectAltName=${alternatives.join()}`];
  await promisify(execFile)('openssl', ['req', '-x509', ...key, '-out', certFile, '-days', '2', ...subject]);
  return { cert: await readFile(certFile, 'utf8'), key: await readFile(keyFile, 'utf8') };
}
