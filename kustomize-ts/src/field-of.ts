/** Words of upstream that stand for a field. */
const SIGNS: readonly (readonly [RegExp, string])[] = [
  [/openapi|OpenAPI/, 'openapi'],
  [/loading CRDs/, 'crds'],
  [/merging vars|var '[^']*' already encountered/, 'vars'],
  [/validator shouldn't modify/, 'validators'],
  [/accumulating components/, 'components'],
  [/accumulating resources:/, 'resources'],
  [/loading generator plugins/, 'generators'],
  [/in replacement target|nothing selected by|multiple matches for selector/, 'replacements'],
  [/builtin PatchTransformer|strategic merge patch|for patch /, 'patches'],
];

/** Fields of one kind: which of them it was, their contents tell. */
const GENERATORS = ['configMapGenerator', 'secretGenerator'];

/**
 * The field of a kustomization file that an error is about, as far as that can be told: by what upstream says, or else by
 * where in the file stands what the error names.
 */
export function fieldOf(message: string, content: string): string | undefined {
  const unknown = /unknown field "([^"]*)"/.exec(message)?.[1] ?? /Go struct field Kustomization\.(\w+)/.exec(message)?.[1];
  if (unknown !== undefined) return unknown;
  if (/loading KV pairs|merging from generator|illegally repeats the key/.test(message)) return generatorOf(message, content);
  if (message.includes('builtin HelmChartInflationGenerator'))
    return only(content, ['helmCharts', 'helmChartInflationGenerator']) ?? only(content, ['generators']);
  const sign = SIGNS.find(([pattern]) => pattern.test(message))?.[1];
  if (sign !== undefined) return sign;
  const named =
    /accumulating resources from '([^']*)'/.exec(message)?.[1] ??
    /evalsymlink failure on '(?:[^']*\/)?([^'/]+)'/.exec(message)?.[1] ??
    /unable to load external plugin '([^']*)'/.exec(message)?.[1];
  return (named === undefined ? undefined : fieldWith(content, named)) ?? only(content, ['transformers', 'validators']);
}

function generatorOf(message: string, content: string): string | undefined {
  if (/Kind:"Secret"|^secret /.test(message)) return 'secretGenerator';
  if (/Kind:"ConfigMap"|configmap /.test(message)) return 'configMapGenerator';
  const named = /sources:? (?:files: )?\[([^\]\s]*)/.exec(message)?.[1];
  const found = named === undefined ? undefined : fieldWith(content, named);
  return found ?? only(content, GENERATORS);
}

/** The one of these fields that the file has. */
function only(content: string, fields: readonly string[]): string | undefined {
  const present = fields.filter((field) => new RegExp(`^["']?${field}["']? *:`, 'm').test(content));
  return present.length === 1 ? present[0] : undefined;
}

/** The outermost field in which a text stands, by the looks of the lines. */
function fieldWith(content: string, text: string): string | undefined {
  let field: string | undefined;
  for (const line of content.split('\n')) {
    field = /^["']?(\w+)["']? *:/.exec(line)?.[1] ?? field;
    if (line.includes(text)) return field;
  }
  return undefined;
}
