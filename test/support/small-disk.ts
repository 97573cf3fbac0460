/** @file A file system of so many bytes, for tests of full disks. Needs root: file-limit.ts has what runs everywhere. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** True where {@link smallDisk} can be used. */
export const canMount = process.platform === 'linux' && process.getuid?.() === 0 && mounts();

/** A mounted file system. */
export interface SmallDisk {
  dir: string;
  resize(bytes: number): void;
  unmount(): void;
}

/** Mounts one. */
export function smallDisk(bytes: number): SmallDisk {
  const dir = mkdtempSync(join(tmpdir(), 'unfold-disk-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', dir]);
  return {
    dir,
    resize: (size) => void execFileSync('mount', ['-o', `remount,size=${size}`, dir]),
    unmount() {
      execFileSync('umount', ['-l', dir]);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Root in a container may still not be allowed to mount. */
function mounts(): boolean {
  try {
    const dir = mkdtempSync(join(tmpdir(), 'unfold-disk-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4096', 'tmpfs', dir], { stdio: 'ignore' });
    execFileSync('umount', [dir]);
    rmSync(dir, { recursive: true });
    return true;
  } catch {
    return false;
  }
}
