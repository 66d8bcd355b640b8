import { isUtf8 } from 'node:buffer';
import type { SourceProblem } from '../source-problem.ts';
import { LineIndex, YamlSyntaxError } from '../yaml-tree.ts';
import { JsonReader, JsonSyntaxError } from './json-values.ts';
import { LenientYaml, RepairBudget } from './lenient-yaml.ts';
import type { Value } from './manifest-value.ts';
import { requireKubectlDialect } from './yaml-dialect.ts';
import { yamlValue } from './yaml-values.ts';

const maxDepth = 500;

/** One document of a file. Line numbers count from 1 in the whole file. */
export interface ManifestDocument {
  readonly value: Value;
  /** Where the document's content begins. */
  readonly line: number;
  lineAt(offset: number): number;
}

/**
 * Splits a file into documents and decodes each, as kubectl does (apimachinery's YAMLOrJSONDecoder): a file that starts with `{` is a
 * stream of JSON values until one of them is no JSON; otherwise lines that start with `---` part YAML documents.
 * A broken document becomes a problem and the next one is read. Documents without content are left out.
 */
export function readDocuments(file: string, content: Buffer): { documents: ManifestDocument[]; problems: SourceProblem[] } {
  const reader = new DocumentReader(file);
  if (!isUtf8(content))
    reader.problem('error', 'InvalidEncoding', 'the file is not UTF-8; save it as UTF-8', firstInvalidLine(content));
  else reader.read(content.toString('utf8'));
  return { documents: reader.documents, problems: reader.problems };
}

class DocumentReader {
  readonly documents: ManifestDocument[] = [];
  readonly problems: SourceProblem[] = [];
  private readonly file: string;
  private readonly repairBudget = new RepairBudget();

  constructor(file: string) {
    this.file = file;
  }

  problem(severity: SourceProblem['severity'], reason: string, message: string, line: number): void {
    this.problems.push({ severity, reason, message, file: this.file, line });
  }

  read(text: string): void {
    if (!/^\s*\{/.test(text) || text.startsWith('\uFEFF')) this.readYamlStream(text, 0);
    else this.readJsonStream(text);
  }

  private readJsonStream(text: string): void {
    const lines = new LineIndex(text);
    const lineAt = (offset: number): number => lines.line(offset);
    const reader = new JsonReader(text, { maxDepth, onDuplicate: (key, offset) => this.duplicateKey(key, lineAt(offset)) });
    for (let count = 0; reader.hasNext(); count++) {
      const start = reader.position;
      const kept = this.problems.length;
      try {
        const { value, unreadable } = reader.next();
        if (unreadable === undefined) this.add(value, lineAt(start), lineAt);
        else
          this.problem('error', 'InvalidJson', `${unreadable.message}; write a smaller one, or text`, lineAt(unreadable.offset));
      } catch (thrown) {
        if (!(thrown instanceof JsonSyntaxError)) throw thrown;
        this.problems.length = kept;
        const problem = `column ${lines.column(thrown.offset)}: ${thrown.message}; correct the JSON at this place`;
        const report = (): void => this.problem('error', 'InvalidJson', problem, lineAt(thrown.offset));
        // With two good values behind it, kubectl is sure that this is JSON.
        if (count > 1) report();
        else this.readAsYaml(text, start, report);
        return;
      }
    }
  }

  private readAsYaml(text: string, start: number, reportJson: () => void): void {
    const [objects, problems] = [this.documents.length, this.problems.length];
    this.readYamlStream(text.slice(start), text.slice(0, start).split('\n').length - 1);
    const failed = this.problems.slice(problems).some(({ severity }) => severity === 'error');
    if (!failed || !this.file.endsWith('.json')) return;
    this.documents.length = objects;
    this.problems.length = problems;
    reportJson();
  }

  private readYamlStream(text: string, linesBefore: number): void {
    let chunk: string[] = [];
    let line = linesBefore;
    let chunkLine = line;
    for (const raw of text.split('\n')) {
      line++;
      const content = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
      if (!content.startsWith('---')) {
        chunk.push(content);
        continue;
      }
      const after = content.slice(3).trim();
      if (after !== '' && !after.startsWith('#')) {
        this.problem(
          'error',
          'InvalidYaml',
          `kubectl takes no content after "---"; move "${after.slice(0, 40)}" to the next line`,
          line,
        );
      }
      this.readYamlDocument(chunk, chunkLine);
      chunk = [];
      chunkLine = line;
    }
    this.readYamlDocument(chunk, chunkLine);
  }

  /** @param linesBefore how many lines of the file come before the chunk */
  private readYamlDocument(chunk: readonly string[], linesBefore: number): void {
    const end = chunk.findIndex((line) => /^\.\.\.(?:\s|$)/.test(line));
    const kept = end === -1 ? chunk : chunk.slice(0, end + 1);
    if (end !== -1) this.warnOfIgnored(chunk, end + 1, linesBefore);
    if (kept.every((line) => /^ *(?:#|$)/.test(line))) return;
    const yaml = new LenientYaml(kept.join('\n'), this.repairBudget);
    const lineAt = (offset: number): number => linesBefore + new LineIndex(yaml.text).line(offset);
    try {
      const [document] = yaml.parse({ maxDepth });
      if (document === undefined) return;
      requireKubectlDialect(yaml.text, document);
      const value = yamlValue(document, (key, offset) => this.duplicateKey(key, lineAt(offset)));
      this.add(value, lineAt(document.root.offset), lineAt);
    } catch (thrown) {
      if (!(thrown instanceof YamlSyntaxError)) throw thrown;
      const place = `column ${new LineIndex(yaml.text).column(thrown.offset)}: ${thrown.message}`;
      this.problem('error', 'InvalidYaml', place + yamlRemedy(thrown.message), lineAt(thrown.offset));
    }
  }

  private warnOfIgnored(chunk: readonly string[], start: number, linesBefore: number): void {
    const index = chunk.findIndex((line, at) => at >= start && !/^\s*(?:#|$)/.test(line));
    if (index === -1) return;
    const message = 'kubectl ignores what follows "..."; part documents by "---"';
    this.problem('warning', 'IgnoredContent', message, linesBefore + index + 1);
  }

  private add(value: Value, line: number, lineAt: (offset: number) => number): void {
    if (value !== null) this.documents.push({ value, line, lineAt });
  }

  private duplicateKey(key: string, line: number): void {
    this.problem(
      'warning',
      'DuplicateKey',
      `the key "${key.slice(0, 100)}" is given twice and the last one counts; remove the other`,
      line,
    );
  }
}

function yamlRemedy(message: string): string {
  if (message.includes(';')) return '';
  return message.includes('tab') ? '; indent with spaces' : '; correct the YAML at this place';
}

function firstInvalidLine(content: Buffer): number {
  let line = 1;
  for (let start = 0; start < content.length; line++) {
    const next = content.indexOf(10, start);
    const end = next === -1 ? content.length : next + 1;
    if (!isUtf8(content.subarray(start, end))) return line;
    start = end;
  }
  return line;
}
