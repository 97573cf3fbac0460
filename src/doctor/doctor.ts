/**
 * @file `unfold doctor`: looks at everything that Unfold uses and says what to do about each problem.
 */
import { backendFindings, productFindings } from './backends.ts';
import type { Finding } from './contract.ts';
import { machineFindings } from './machine.ts';
import { serviceFindings } from './services.ts';

export type { Finding, State } from './contract.ts';

/** The whole of what was found. */
export interface Diagnosis {
  /** False only if no backend or no tokeniser can run at all. */
  can_run: boolean;
  findings: Finding[];
}

/** Examines this machine; takes some seconds, because it measures. Starts and changes nothing. */
export async function diagnose(): Promise<Diagnosis> {
  const findings = [
    ...(await machineFindings()),
    ...(await backendFindings()),
    ...productFindings(),
    ...(await serviceFindings()),
  ];
  return { can_run: findings.every(({ state }) => state !== 'problem'), findings };
}
