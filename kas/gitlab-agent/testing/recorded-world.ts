import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as story from '../../../test/compatibility/story.ts';
import { createTempDir, type TempDir } from '../../../test/harness/temp-dir.ts';
import type { Repository } from '../../gitaly/gitaly-fixture.ts';
import { RorFixture, repositoryAnswer } from '../../gitlab-api/ror-fixture.ts';
import { KasFixture } from '../../kas-fixture.ts';

export const TESTDATA = join(import.meta.dirname, '../testdata');

/** kas with the repositories and the GitLab that there were when the original programs were recorded. */
export class RecordedWorld implements AsyncDisposable {
  readonly kas: KasFixture;
  readonly rails: RorFixture;
  readonly #folder: TempDir;
  readonly #configuration: Repository;
  readonly #manifests: Repository;

  private constructor(kas: KasFixture, rails: RorFixture, folder: TempDir, configuration: Repository, manifests: Repository) {
    this.#folder = folder;
    this.kas = kas;
    this.rails = rails;
    this.#configuration = configuration;
    this.#manifests = manifests;
  }

  static async start(
    options: { readonly listenYaml?: string; readonly observabilityYaml?: string } = {},
  ): Promise<RecordedWorld> {
    const rails = await RorFixture.start();
    rails.onModule = (request, response) => {
      response.writeHead(201, { 'content-type': 'text/plain', 'x-echo': 'a' });
      request.pipe(response);
    };
    const folder = await createTempDir();
    const secretFile = join(folder.path, 'secret');
    await writeFile(secretFile, rails.secret.toString('base64'));
    const registryYaml = `gitlab: { address: "${rails.url.href}", authentication_secret_file: "${secretFile}", allowed_module_paths: [echo] }\n`;
    const kas = await KasFixture.start({ ...options, registryYaml });
    const configuration = await kas.gitaly.create(story.CONFIGURATION_PROJECT);
    const manifests = await kas.gitaly.create(story.PROJECT);
    const world = new RecordedWorld(kas, rails, folder, configuration, manifests);
    await world.commit('configuration 0');
    await world.commit('manifests 0');
    const { address, token } = kas.gitaly.location('').gitaly;
    const { AGENT_ID: agent_id, AGENT_NAME: agent_name, CONFIGURATION_PROJECT, PROJECT, TOKEN } = story;
    rails.agents.set(TOKEN, { ...repositoryAnswer(70, CONFIGURATION_PROJECT, { address, token }), agent_id, agent_name });
    rails.projects.set(PROJECT, repositoryAnswer(71, PROJECT, { address, token }));
    return world;
  }

  /** What a note in a recording says was committed; other notes are nothing to this world. */
  async commit(note: string): Promise<void> {
    const [what, index] = note.split(' ');
    if (what === 'configuration') await story.commitStory(this.#configuration.path, story.CONFIGURATIONS, Number(index));
    if (what === 'manifests') await story.commitStory(this.#manifests.path, story.MANIFESTS, Number(index));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kas[Symbol.asyncDispose]();
    await this.rails[Symbol.asyncDispose]();
    await this.#folder.remove();
  }
}
