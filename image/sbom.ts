import type { DebianPackage } from './debian.ts';
import type { NpmPackage } from './programs.ts';

export interface GoModule {
  readonly path: string;
  readonly version: string;
}

export interface Contents {
  readonly name: string;
  readonly version: string;
  readonly npm: readonly NpmPackage[];
  readonly debian: readonly DebianPackage[];
  /** Compiled into the module of kustomize-ts. */
  readonly go: readonly GoModule[];
}

/**
 * What an image is made of, as CycloneDX 1.6: <https://cyclonedx.org/docs/1.6/json/>. It has no serial number and no time, so that
 * the same image has the same one.
 */
export function sbom({ name, version, npm, debian, go }: Contents): string {
  const components = [
    ...npm.map((each) => ({
      type: 'library',
      name: each.name,
      version: each.version,
      ...(each.license === '' ? {} : { licenses: [{ expression: each.license }] }),
      purl: `pkg:npm/${each.name.replace(/^@/, '%40')}@${each.version}`,
    })),
    ...debian.map((each) => ({
      type: 'library',
      name: each.name,
      version: each.version,
      purl: `pkg:deb/debian/${each.name}@${encodeURIComponent(each.version)}?arch=${each.architecture}&distro=debian-12`,
    })),
    ...go.map(({ path, version: of }) => ({ type: 'library', name: path, version: of, purl: `pkg:golang/${path}@${of}` })),
  ];
  const document = {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: { component: { type: 'container', 'bom-ref': name, name, version } },
    components: components.map((component) => ({ 'bom-ref': component.purl, ...component })),
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

/** The modules that a go.mod requires. */
export function goModules(goMod: string): readonly GoModule[] {
  return [...goMod.matchAll(/^\t(\S+) (v\S+)/gm)].map(([, path = '', version = '']) => ({ path, version }));
}
