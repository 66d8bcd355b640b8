import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';
import { UserError } from '../../lib/errors.ts';
import { repositoryUrlKey } from '../registry/repository-url.ts';
import type { GitHost } from './signatures.ts';

/** What was pushed to, by all the names that the host gives it. */
export interface PushedTo {
  /** "group/project" */
  readonly paths: readonly string[];
  /** See `repositoryUrlKey`. */
  readonly urlKeys: readonly string[];
}

const EVENT_HEADERS: Readonly<Record<GitHost, string>> = {
  github: 'x-github-event',
  gitlab: 'x-gitlab-event',
  gitea: 'x-gitea-event',
  bitbucket: 'x-event-key',
};

/** Events after which refs are others. Branches and tags that come and go are among them. */
const PUSHES: Readonly<Record<GitHost, ReadonlySet<string>>> = {
  github: new Set(['push', 'create', 'delete']),
  gitlab: new Set(['Push Hook', 'Tag Push Hook', 'System Hook']),
  gitea: new Set(['push', 'create', 'delete']),
  bitbucket: new Set(['repo:push', 'repo:refs_changed']),
};

const optional = z.string().nullish();
const hubBody = z.object({
  repository: z.object({ full_name: z.string(), clone_url: optional, ssh_url: optional, html_url: optional }),
});
const gitlabBody = z.object({
  project: z
    .object({ path_with_namespace: z.string(), git_http_url: optional, git_ssh_url: optional, web_url: optional })
    .optional(),
});
const link = z.object({ href: z.string() });
const bitbucketBody = z.object({
  repository: z.object({
    full_name: optional,
    slug: optional,
    project: z.object({ key: z.string() }).nullish(),
    links: z.object({ html: link.optional(), clone: z.array(link).optional() }).nullish(),
  }),
});

/** Undefined for an event that is about no push. UserError for a body that is not what the host sends. */
export function parsePush(host: GitHost, headers: IncomingHttpHeaders, body: Buffer): PushedTo | undefined {
  const event = headers[EVENT_HEADERS[host]];
  if (typeof event !== 'string') throw new UserError(`header ${EVENT_HEADERS[host]} is missing`);
  if (!PUSHES[host].has(event)) return undefined;
  const value = jsonOf(headers, body);
  if (host === 'gitlab') return gitlabPush(read(gitlabBody, value));
  return host === 'bitbucket' ? bitbucketPush(read(bitbucketBody, value)) : hubPush(read(hubBody, value));
}

function hubPush({ repository }: z.output<typeof hubBody>): PushedTo {
  return named([repository.full_name], [repository.clone_url, repository.ssh_url, repository.html_url]);
}

function gitlabPush({ project }: z.output<typeof gitlabBody>): PushedTo | undefined {
  // A system hook tells of much that is about no project.
  if (project === undefined) return undefined;
  return named([project.path_with_namespace], [project.git_http_url, project.git_ssh_url, project.web_url]);
}

/** Bitbucket's cloud has a full name; its data center has a project's key and a slug. */
function bitbucketPush({ repository }: z.output<typeof bitbucketBody>): PushedTo {
  const { full_name, slug, project, links } = repository;
  const keyed = typeof slug !== 'string' || !project ? [] : [`${project.key}/${slug}`, `${project.key.toLowerCase()}/${slug}`];
  return named([full_name, ...keyed], [links?.html?.href, ...(links?.clone ?? []).map(({ href }) => href)]);
}

function named(paths: readonly (string | null | undefined)[], urls: readonly (string | null | undefined)[]): PushedTo {
  const keys = urls.map((url) => (typeof url === 'string' ? repositoryUrlKey(url) : undefined));
  return { paths: present(paths), urlKeys: present(keys) };
}

function present(values: readonly (string | null | undefined)[]): readonly string[] {
  return [...new Set(values.filter((value) => typeof value === 'string'))];
}

function read<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new UserError(`the body lacks ${result.error.issues[0]?.path.join('.')}`);
}

function jsonOf(headers: IncomingHttpHeaders, body: Buffer): unknown {
  const isForm = headers['content-type']?.startsWith('application/x-www-form-urlencoded') === true;
  const content = body.toString('utf8');
  try {
    return JSON.parse(isForm ? (new URLSearchParams(content).get('payload') ?? '') : content);
  } catch (error) {
    throw new UserError('the body is not JSON', { cause: error });
  }
}
