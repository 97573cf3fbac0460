/** @file `unfold doctor`: what this machine offers, and how to mend what it lacks. */
import pc from 'picocolors';
import type { Diagnosis, Finding, State } from '../../doctor/doctor.ts';
import { textTable } from '../../table.ts';
import { BEGINS_AGAIN, type CommandSpec } from '../command.ts';

const command: CommandSpec = {
  name: 'doctor',
  summary: 'look at this machine: backends, speed, memory, Redis; and say how to mend what is wrong',
  description: [
    'Examines what Unfold uses: Node, processor, memory and disk; every backend and why it can or cannot run; how fast',
    'each library of matrix products is; the tokeniser, the model cache and Redis. Each problem comes with what to do',
    'about it. Exit code 1 only if nothing can run.',
  ].join(' '),
  examples: [
    ['unfold doctor', 'a table'],
    ['unfold doctor --json', 'the same for programs, and for bug reports'],
  ],
  afterStop: BEGINS_AGAIN,
  configure() {},
  async run(_args, _options, io) {
    const { diagnose } = await import('../../doctor/doctor.ts');
    const diagnosis = await diagnose();
    io.print(report(diagnosis));
    io.emit(diagnosis);
    if (!diagnosis.can_run) process.exitCode = 1;
  },
};

export default command;

const SIGNS: Record<State, string> = {
  ok: pc.green('✓'),
  info: pc.dim('·'),
  warning: pc.yellow('!'),
  problem: pc.red('✗'),
};

function report({ findings, can_run }: Diagnosis): string {
  const areas = [...new Set(findings.map(({ area }) => area))];
  const parts = areas.map((area) => {
    return `${pc.bold(area)}\n${table(findings.filter((finding) => finding.area === area))}`;
  });
  return [...parts, advice(findings), verdict(findings, can_run)].filter(Boolean).join('\n\n');
}

function table(findings: Finding[]): string {
  const width = Math.max(40, (process.stdout.columns || 120) - 28);
  const rows = findings.map(({ state, name, found }) => [
    SIGNS[state],
    name,
    state === 'info' ? pc.dim(found) : found,
  ]);
  return textTable([], rows, { widths: [3, 20, width] });
}

function advice(findings: Finding[]): string {
  const lines = findings
    .filter(({ remedy }) => remedy)
    .map(({ state, name, remedy }) => ` ${SIGNS[state]} ${name}: ${remedy}`);
  return lines.length ? `${pc.bold('what to do')} ${pc.dim('(· is optional)')}\n${lines.join('\n')}` : '';
}

function verdict(findings: Finding[], canRun: boolean): string {
  const warnings = findings.filter(({ state }) => state === 'warning').length;
  if (!canRun) return pc.red('Unfold cannot run here until the problems marked ✗ are mended.');
  return warnings
    ? pc.yellow(`Unfold can run here, with ${warnings} warning${warnings > 1 ? 's' : ''}.`)
    : pc.green('All is well.');
}
