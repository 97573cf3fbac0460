/** @file The settings of a job that say which of several coders is meant, as cli/coder-options.ts reads them. */
import { z } from 'zod';

/** Fields of a job's schema. */
export const coderChoice = {
  format: z.string().optional(),
  layer: z.int().nonnegative().optional(),
  hook: z.string().optional(),
  name: z.string().optional(),
  rule: z.enum(['threshold', 'topk']).optional(),
} as const;
