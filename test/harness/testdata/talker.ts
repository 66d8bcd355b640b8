/** Says what it was given, then goes on until SIGTERM; with `--stubborn` beyond that, with `--exit CODE` not at all. */
const [, , ...args] = process.argv;
process.stdout.write(`args ${args.join(' ')}\n`);
process.stderr.write(`colour ${process.env['COLOUR'] ?? 'none'}\n`);
if (args[0] === '--exit') process.exit(Number(args[1]));
process.on('SIGTERM', () => {
  process.stdout.write('asked to stop\nlast words without a line feed');
  if (args[0] !== '--stubborn') process.exit(0);
});
setInterval(() => undefined, 60_000);
process.stdout.write('ready\n');
