/**
 * What the API server says of a Secret that it refuses, without the values that it quotes. What is quoted may hold anything,
 * the sign of its own end too, so all that follows goes.
 */
export function withoutValues(message: string): string {
  return message
    .replace(/, got .*/gs, ', got (hidden)')
    .replace(/Value:.*\}/gs, 'Value:(hidden)}')
    .replace(/Invalid value: (?:[[{]|\w*map\[).*/gs, 'Invalid value: (hidden)')
    .replace(/Invalid value: ("(\\.|[^"\\])*"|\S+)/g, 'Invalid value: (hidden)');
}
