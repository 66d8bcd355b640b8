/** Push events as their hosts document them, shortened where they say more of people and commits. */

const hub = (web: string, ssh: string, fullName: string): string =>
  JSON.stringify({
    ref: 'refs/heads/main',
    before: '6113728f27ae82c7b1a177c8d03f9e96e0adf246',
    after: '59b20b8d5c6ff8d09518216e87ba2a5de5b3eb4f',
    created: false,
    deleted: false,
    forced: false,
    repository: {
      id: 186853002,
      name: fullName.split('/')[1],
      full_name: fullName,
      private: false,
      owner: { login: fullName.split('/')[0], id: 21031067 },
      html_url: web,
      git_url: web.replace('https', 'git').concat('.git'),
      ssh_url: ssh,
      clone_url: `${web}.git`,
      default_branch: 'main',
    },
    pusher: { name: 'Codertocat', email: '21031067+Codertocat@users.noreply.github.com' },
    commits: [{ id: '59b20b8d5c6ff8d09518216e87ba2a5de5b3eb4f', message: 'Adding a .gitignore file', added: ['.gitignore'] }],
  });

/** docs.github.com/webhooks/webhook-events-and-payloads#push */
export const githubPush = hub(
  'https://github.com/Codertocat/Hello-World',
  'git@github.com:Codertocat/Hello-World.git',
  'Codertocat/Hello-World',
);

/** docs.gitea.com/usage/webhooks */
export const giteaPush = hub(
  'http://localhost:3000/gitea/webhooks',
  'ssh://gitea@localhost:2222/gitea/webhooks.git',
  'gitea/webhooks',
);

/** docs.gitlab.com/user/project/integrations/webhook_events#push-events */
export const gitlabPush = JSON.stringify({
  object_kind: 'push',
  event_name: 'push',
  before: '95790bf891e76fee5e1747ab589903a6a1f80f22',
  after: 'da1560886d4f094c3e6c9ef40349f7d38b5d27d7',
  ref: 'refs/heads/master',
  checkout_sha: 'da1560886d4f094c3e6c9ef40349f7d38b5d27d7',
  user_id: 4,
  user_name: 'John Smith',
  project_id: 15,
  project: {
    id: 15,
    name: 'Diaspora',
    web_url: 'http://example.com/mike/diaspora',
    git_ssh_url: 'git@example.com:mike/diaspora.git',
    git_http_url: 'http://example.com/mike/diaspora.git',
    namespace: 'Mike',
    visibility_level: 0,
    path_with_namespace: 'mike/diaspora',
    default_branch: 'master',
  },
  commits: [{ id: 'b6568db1bc1dcd7f8b4d5a946b0b91f9dacd7327', title: 'Update Catalan translation to e38cb41.' }],
  total_commits_count: 4,
});

/** support.atlassian.com/bitbucket-cloud/docs/event-payloads#Push */
export const bitbucketCloudPush = JSON.stringify({
  actor: { display_name: 'Emma', type: 'user' },
  repository: {
    type: 'repository',
    full_name: 'teams-in-space/documentation',
    name: 'documentation',
    uuid: '{673a6070-3421-46c9-9d48-90745f7bfe8e}',
    project: { type: 'project', key: 'PROJ', name: 'Project' },
    links: {
      self: { href: 'https://api.bitbucket.org/2.0/repositories/teams-in-space/documentation' },
      html: { href: 'https://bitbucket.org/teams-in-space/documentation' },
    },
    is_private: true,
  },
  push: { changes: [{ new: { type: 'branch', name: 'main', target: { hash: '709d658dc5b6d6afcd46049c2f332ee3f515a67d' } } }] },
});

/** confluence.atlassian.com/bitbucketserver/event-payload */
export const bitbucketServerPush = JSON.stringify({
  eventKey: 'repo:refs_changed',
  date: '2017-09-13T22:18:39+1000',
  actor: { name: 'admin', id: 1 },
  repository: {
    slug: 'rep_1',
    id: 1,
    name: 'rep_1',
    project: { key: 'PROJECT_1', id: 1, name: 'Project 1', type: 'NORMAL' },
    links: {
      clone: [
        { href: 'ssh://git@bitbucket.example.com:7999/project_1/rep_1.git', name: 'ssh' },
        { href: 'https://bitbucket.example.com/scm/project_1/rep_1.git', name: 'http' },
      ],
    },
  },
  changes: [{ ref: { id: 'refs/heads/master', type: 'BRANCH' }, type: 'UPDATE' }],
});
