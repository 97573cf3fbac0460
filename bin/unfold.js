#!/usr/bin/env node
import { shortOfLimits } from '../dist/limits.js';

const argv = process.argv.slice(2);
const short = shortOfLimits();
// Loading the rest would end in the middle.
if (short) {
  const { reportLesson } = await import('../dist/cli/report.js');
  process.exitCode = reportLesson(short, argv.includes('--json'));
} else {
  const { main } = await import('../dist/cli/main.js');
  process.exitCode = await main(argv);
}
