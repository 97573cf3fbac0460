/** @file A coder's configuration and settings, held against its architecture's schema: a lesson, never zod's own error. */
import type { z } from 'zod';
import { checked } from '../checked.ts';

/** A coder's cfg.json, or what is to become one. @throws UnfoldError `bad-config` */
export function checkedConfig<S extends z.ZodType>(schema: S, cfg: unknown): z.output<S> {
  return checked(schema, cfg, { where: 'the configuration of the coder', kind: 'bad-config' });
}

/** A coder's own settings of training. @throws UnfoldError `bad-setting` */
export function checkedSettings<S extends z.ZodType>(schema: S, settings: unknown): z.output<S> {
  return checked(schema, settings, { where: 'settings of the coder' });
}
