import { expect, test } from "vitest";
import { DiskError } from "../src/index.ts";
import type { Disk } from "../src/index.ts";

/** A disk under test; `run` drives whatever makes its promises resolve. */
export interface DiskUnderTest {
  disk: Disk;
  run<T>(work: Promise<T>): Promise<T>;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (content: Uint8Array): string => new TextDecoder().decode(content);

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    expect(error).toBeInstanceOf(DiskError);
    return error instanceof DiskError ? error.code : "";
  }
  return "no error";
}

/** What every disk must do, real or simulated. */
export function diskContract(make: () => Promise<DiskUnderTest>): void {
  const check = (name: string, body: (disk: Disk) => Promise<void>): void => {
    test(name, async () => {
      const under = await make();
      await under.run(body(under.disk));
    });
  };

  check("what was appended is read back in order", async (disk) => {
    const file = await disk.openAppend("a");
    expect(file.size).toBe(0);
    await file.append([bytes("one"), bytes(""), bytes("two")]);
    await file.append([bytes("three")]);
    expect(file.size).toBe(11);
    expect(text(await disk.read("a"))).toBe("onetwothree");
    await file.sync();
    await file.close();
    expect(text(await disk.read("a"))).toBe("onetwothree");
  });

  check("a file that is opened again goes on at its end", async (disk) => {
    const first = await disk.openAppend("a");
    await first.append([bytes("one")]);
    await first.close();
    const second = await disk.openAppend("a");
    expect(second.size).toBe(3);
    await second.append([bytes("two")]);
    await second.close();
    expect(text(await disk.read("a"))).toBe("onetwo");
  });

  check("a range is read, and ends with the file", async (disk) => {
    const file = await disk.openAppend("a");
    await file.append([bytes("0123456789")]);
    await file.close();
    expect(text(await disk.readRange("a", 2, 3))).toBe("234");
    expect(text(await disk.readRange("a", 8, 100))).toBe("89");
    expect((await disk.readRange("a", 10, 5)).length).toBe(0);
    expect(await disk.sizeOf("a")).toBe(10);
  });

  check("a cut file ends where it was cut", async (disk) => {
    const file = await disk.openAppend("a");
    await file.append([bytes("0123456789")]);
    await file.truncate(4);
    expect(file.size).toBe(4);
    await file.append([bytes("x")]);
    await file.sync();
    await file.close();
    expect(text(await disk.read("a"))).toBe("0123x");
  });

  check("what is written once more stands where it stood, and the file goes on at its end", async (disk) => {
    const file = await disk.openAppend("a");
    await file.append([bytes("0123456789")]);
    await file.rewrite(2, bytes("2345"));
    await file.rewrite(0, bytes("0123456789"));
    await file.rewrite(10, bytes(""));
    expect(file.size).toBe(10);
    await file.sync();
    await file.append([bytes("x")]);
    await file.close();
    expect(text(await disk.read("a"))).toBe("0123456789x");
  });

  check("what is not in the file cannot be written once more", async (disk) => {
    const file = await disk.openAppend("a");
    await file.append([bytes("0123456789")]);
    await file.truncate(5);
    for (const at of [-1, 4, 5, 100]) expect(await codeOf(file.rewrite(at, bytes("45"))), String(at)).toBe("EINVAL");
    expect(file.size).toBe(5);
    await file.close();
    expect(text(await disk.read("a"))).toBe("01234");
  });

  check("names are listed sorted, after renames and removals", async (disk) => {
    for (const name of ["b", "a", "B", "c"]) {
      const file = await disk.openAppend(name);
      await file.append([bytes(name)]);
      await file.close();
    }
    await disk.rename("c", "a");
    await disk.remove("B");
    await disk.remove("never there");
    await disk.syncDirectory();
    expect(await disk.list()).toEqual(["a", "b"]);
    expect(text(await disk.read("a"))).toBe("c");
  });

  check("a file that is not there is ENOENT", async (disk) => {
    expect(await codeOf(disk.read("absent"))).toBe("ENOENT");
    expect(await codeOf(disk.readRange("absent", 0, 1))).toBe("ENOENT");
    expect(await codeOf(disk.sizeOf("absent"))).toBe("ENOENT");
    expect(await codeOf(disk.rename("absent", "b"))).toBe("ENOENT");
  });

  check("names that could leave the folder are refused", async (disk) => {
    for (const name of ["", ".", "..", "../a", "a/b", "a\\b", "a\0b", "x".repeat(256)]) {
      expect(await codeOf(disk.read(name)), name).toBe("EINVAL");
      expect(await codeOf(disk.openAppend(name)), name).toBe("EINVAL");
      expect(await codeOf(disk.remove(name)), name).toBe("EINVAL");
      expect(await codeOf(disk.rename("a", name)), name).toBe("EINVAL");
    }
  });
}
