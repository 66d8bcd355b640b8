import { callBidi } from '../../lib/grpc/call.ts';
import { GitlabAccessClient, type Request, type Response } from '../../proto/gen/gitlab/agent/gitlab_access/rpc.ts';
import type { OpenGitlabCall } from '../gitlab-access/gitlab-access.ts';
import type { KasChannel } from './kas-channel.ts';

/** Calls of `GitlabAccess/MakeRequest`, which our kas and those of GitLab know, over a connection. */
export function gitlabCallsOf({ target, credentials, options, metadata }: KasChannel): OpenGitlabCall {
  let client: GitlabAccessClient | undefined;
  return (signal) => {
    const used = (client ??= new GitlabAccessClient(target, credentials, options));
    return callBidi<Request, Response>((given, settings) => used.makeRequest(given, settings), { metadata }, signal);
  };
}
