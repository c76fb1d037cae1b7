// Numbers that a command line takes.
import { InvalidArgumentError } from "commander";

/** Takes any number of a range. */
export function numberIn(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === "" || !(value >= min && value <= max)) throw new InvalidArgumentError(`must be a number in ${min}..${max}`);
    return value;
  };
}

/** Takes a whole number of a range. */
export function wholeIn(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = numberIn(min, max)(text);
    if (!Number.isInteger(value)) throw new InvalidArgumentError(`must be a whole number in ${min}..${max}`);
    return value;
  };
}
