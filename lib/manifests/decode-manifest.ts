import { type BundleObject, contentDigest } from '../bundle.ts';
import { formatObjectId, type ObjectId } from '../object-id.ts';
import type { SourceProblem } from '../source-problem.ts';
import { type ManifestDocument, readDocuments } from './documents.ts';
import { canonicalJson, describeType, Mapping, type Value } from './manifest-value.ts';
import { normalize } from './normalize.ts';

const maxProblems = 100;

/** An object as a manifest defines it. `content` is canonical JSON: equal objects have equal bytes. */
export interface ManifestObject extends BundleObject {
  /** `v1`, `apps/v1`. */
  readonly apiVersion: string;
  /** From 1. */
  readonly line: number;
}

export interface DecodedFile {
  /** In the order of the file. */
  readonly objects: readonly ManifestObject[];
  readonly problems: readonly SourceProblem[];
}

/**
 * Decodes a file of manifests, YAML or JSON, with the meaning that kubectl gives it; lists are flattened.
 * All errors are data, and a broken document does not hide the others.
 * Problems: `InvalidEncoding`, `InvalidYaml`, `InvalidJson`, `NotAnObject`, `MissingKind`, `MissingApiVersion`, `MissingName`,
 * `InvalidName`, `InvalidKind`, `InvalidSecret`, `TooManyProblems`; warnings `DuplicateKey`, `IgnoredContent`, `StrippedFields`.
 */
export function decodeManifest(file: string, content: Buffer): DecodedFile {
  const { documents, problems } = readDocuments(file, content);
  const decoder = new ObjectDecoder(file, problems);
  for (const document of documents) decoder.decode(document);
  return {
    objects: decoder.objects,
    problems: limitProblems(
      file,
      problems.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0)),
    ),
  };
}

/** Errors before warnings, when there are too many for all to be of use. */
function limitProblems(file: string, problems: readonly SourceProblem[]): readonly SourceProblem[] {
  if (problems.length <= maxProblems) return problems;
  const errors = problems.filter(({ severity }) => severity === 'error');
  const severity = errors.length > 0 ? 'error' : 'warning';
  const listed = (severity === 'error' ? errors : problems).slice(0, maxProblems);
  const message = `${problems.length - listed.length} more problems in this file are not listed; correct these first`;
  return [...listed, { severity, reason: 'TooManyProblems', message, file }];
}

class ObjectDecoder {
  readonly objects: ManifestObject[] = [];
  private readonly file: string;
  private readonly problems: SourceProblem[];

  constructor(file: string, problems: SourceProblem[]) {
    this.file = file;
    this.problems = problems;
  }

  decode(document: ManifestDocument): void {
    const { value, line } = document;
    if (!(value instanceof Mapping)) {
      this.error(
        'NotAnObject',
        `the document is ${describeType(value)}; a manifest is a mapping with apiVersion, kind and metadata`,
        line,
      );
    } else if (!value.members.has('items')) this.object(value, document);
    else this.list(value, document);
  }

  /** As UnstructuredList: items that say neither kind nor apiVersion get them from the list. */
  private list(list: Mapping, document: ManifestDocument): void {
    const line = document.lineAt(list.offset);
    const kind = textOf(list.get('kind'));
    if (kind === '') this.error('MissingKind', 'the list has no kind; add "kind: List"', line);
    const items = list.get('items') ?? [];
    if (!Array.isArray(items)) {
      this.error(
        'NotAnObject',
        `the items of a list are ${describeType(items)}; "items" makes this a list of objects to kubectl`,
        line,
      );
      return;
    }
    items.forEach((item, index) => {
      if (!(item instanceof Mapping)) {
        this.error('NotAnObject', `items[${index}] is ${describeType(item)}; it must be an object`, line);
        return;
      }
      if (Array.isArray(item.get('items'))) {
        this.error(
          'NotAnObject',
          `items[${index}] is a list itself; kubectl takes no list within a list`,
          document.lineAt(item.offset),
        );
        return;
      }
      if (textOf(item.get('kind')) === '' && textOf(item.get('apiVersion')) === '') {
        item.members.set('kind', kind.replace(/List$/, ''));
        item.members.set('apiVersion', list.get('apiVersion') ?? '');
      }
      this.object(item, document);
    });
  }

  private object(value: Mapping, document: ManifestDocument): void {
    const line = document.lineAt(value.offset);
    const identity = this.identify(value, line);
    if (identity === undefined) return;
    const { id, apiVersion } = identity;
    const object = formatObjectId(id);
    for (const problem of normalize(value, id)) {
      this.problems.push({ ...problem, file: this.file, line, object });
      if (problem.severity === 'error') return;
    }
    const content = Buffer.from(canonicalJson(value));
    this.objects.push({ id, apiVersion, source: `${this.file}:${line}`, line, content, digest: contentDigest(content) });
  }

  private identify(value: Mapping, line: number): { id: ObjectId; apiVersion: string } | undefined {
    const [apiVersion, kind] = [textOf(value.get('apiVersion')), textOf(value.get('kind'))];
    const metadata = value.get('metadata');
    const named = metadata instanceof Mapping ? metadata : new Mapping(value.offset);
    const [name, namespace] = [named.get('name') ?? '', named.get('namespace') ?? ''];
    const object = [kind, typeof name === 'string' ? name : ''].join(' ').trim();
    const before = this.problems.length;
    if (kind === '') this.error('MissingKind', 'the object has no kind; add one such as "kind: ConfigMap"', line, object);
    if (apiVersion === '')
      this.error('MissingApiVersion', 'the object has no apiVersion; add one such as "apiVersion: v1"', line, object);
    if (!/^[A-Za-z][\w.-]*$|^$/.test(kind))
      this.error('InvalidKind', 'the kind holds a character that no kind may hold', line, object);
    if (!/^(?:[\w.-]+\/)?[\w.-]+$|^$/.test(apiVersion)) {
      this.error(
        'InvalidKind',
        'the apiVersion must be a version such as "v1", or a group and a version such as "apps/v1"',
        line,
        object,
      );
    }
    if (metadata instanceof Mapping || metadata === undefined || metadata === null) this.checkName(named, line, object);
    else this.error('InvalidName', `metadata is ${describeType(metadata)}; it must be a mapping with a name`, line, object);
    if (typeof namespace !== 'string') {
      this.error('InvalidName', `metadata.namespace is ${describeType(namespace)}, not text; put it in quotes`, line, object);
    } else if (!/^[a-z0-9-]*$/.test(namespace)) {
      this.error('InvalidName', 'metadata.namespace may hold only a-z, 0-9 and "-"; rename it', line, object);
    }
    if (this.problems.length > before || typeof name !== 'string' || typeof namespace !== 'string') return undefined;
    const group = apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '';
    return { id: { group, kind, namespace, name }, apiVersion };
  }

  private checkName(metadata: Mapping, line: number, object: string): void {
    const name = metadata.get('name') ?? '';
    if (typeof name !== 'string') {
      this.error('InvalidName', `metadata.name is ${describeType(name)}, not text; put it in quotes`, line, object);
    } else if (name === '') {
      const generated = metadata.get('generateName') !== undefined;
      const why = generated ? 'generateName would create a new object at each sync; give it a fixed "name"' : 'add it';
      this.error('MissingName', `the object has no metadata.name; ${why}`, line, object);
    } else if (/[/%|]|^\.\.?$/.test(name)) {
      this.error('InvalidName', 'metadata.name holds a character that no name may hold; rename the object', line, object);
    }
  }

  private error(reason: string, message: string, line: number, object = ''): void {
    this.problems.push({ severity: 'error', reason, message, file: this.file, line, ...(object === '' ? {} : { object }) });
  }
}

function textOf(value: Value | undefined): string {
  return typeof value === 'string' ? value : '';
}
