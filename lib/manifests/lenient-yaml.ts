import { parseYamlTree, type YamlDocument, YamlSyntaxError } from '../yaml-tree.ts';

/** UTF-16 code units that may be parsed again for the sake of repairs, over all documents of a file. */
export class RepairBudget {
  private left = 8 * 2 ** 20;

  /** Whether there was enough left. */
  spend(units: number): boolean {
    this.left -= units;
    return this.left >= 0;
  }
}

/**
 * Parses YAML that is indented less than YAML 1.2 wants within brackets and quotes, which kubectl's scanner does not mind:
 *
 *     args: [
 *       "a"
 *     ]
 *
 * There the white space at the beginning of a line has no meaning, so such lines are indented and the text is parsed again.
 */
export class LenientYaml {
  private current: string;
  private readonly budget: RepairBudget;

  constructor(text: string, budget: RepairBudget) {
    this.current = text;
    this.budget = budget;
  }

  /** What all offsets refer to: the given text, but for spaces added to lines or put in place of tabs. Lines keep their numbers. */
  get text(): string {
    return this.current;
  }

  /** @throws YamlSyntaxError */
  parse(options: { readonly maxDepth: number }): YamlDocument[] {
    let needed: number | undefined;
    for (;;) {
      try {
        return parseYamlTree(this.current, options);
      } catch (thrown) {
        if (!(thrown instanceof YamlSyntaxError) || thrown.message !== 'deficient indentation') throw thrown;
        needed ??= widestIndent(this.current);
        const repaired = this.budget.spend(thrown.offset) ? indent(this.current, thrown.offset, needed) : undefined;
        if (repaired === undefined)
          throw new YamlSyntaxError(explain(this.current, thrown.offset), thrown.offset, { cause: thrown });
        this.current = repaired;
      }
    }
  }
}

/** @param offset of what is not indented enough, within brackets or quotes */
function indent(text: string, offset: number, needed: number): string | undefined {
  const lineStart = text.lastIndexOf('\n', offset - 1) + 1;
  const before = text.slice(lineStart, offset);
  const separation = /[ \t]*$/.exec(before)?.[0] ?? '';
  if (separation.length === before.length) {
    const own = /^ */.exec(before)?.[0].length ?? 0;
    return own >= needed ? undefined : text.slice(0, lineStart) + ' '.repeat(needed - own) + text.slice(lineStart);
  }
  if (separation.includes('\t'))
    return text.slice(0, offset - separation.length) + ' '.repeat(separation.length) + text.slice(offset);
  const spaced = before.replace(/(?<=:)[ \t]*\t[ \t]*(?=[[{&!])/, (blank) => ' '.repeat(blank.length));
  return spaced === before ? undefined : text.slice(0, lineStart) + spaced + text.slice(offset);
}

/** More than the indentation that any line can ask for. */
function widestIndent(text: string): number {
  let widest = 0;
  for (const [prefix] of text.matchAll(/^[ ?:-]+/gm)) widest = Math.max(widest, prefix.length);
  return widest + 1;
}

function explain(text: string, offset: number): string {
  const line = text.slice(text.lastIndexOf('\n', offset - 1) + 1, offset);
  return line.includes('\t') ? 'a tab character is not allowed here' : 'not indented enough';
}
