/** The same picture as a file: acknowledged operations a second as bars, faults as bands behind them. */
import type { Availability } from "./availability.ts";
import type { Injected } from "./injector.ts";

const WIDTH = 1_200;
const HEIGHT = 320;
const LEFT = 56;
const BOTTOM = 34;
const TOP = 12;
const LANE = 14;

export function availabilitySvg({ perSecond }: Availability, faults: readonly Injected[]): string {
  const seconds = Math.max(1, perSecond.length, ...faults.map((fault) => fault.toMs / 1_000));
  const most = Math.max(1, ...perSecond);
  const lanes = lanesOf(faults);
  const height = HEIGHT + Math.max(0, ...lanes.values()) * LANE + LANE;
  const x = (second: number): number => LEFT + (second / seconds) * (WIDTH - LEFT - 10);
  const y = (value: number): number => TOP + (1 - value / most) * (HEIGHT - TOP - BOTTOM);
  const parts: string[] = [];
  for (const fault of faults) {
    const from = x(fault.fromMs / 1_000);
    const width = Math.max(1, x(fault.toMs / 1_000) - from);
    const lane = HEIGHT + (lanes.get(fault) ?? 0) * LANE;
    const color = fault.outage ? "#d9534f" : "#f0ad4e";
    parts.push(`<rect x="${from.toFixed(1)}" y="${TOP}" width="${width.toFixed(1)}" height="${HEIGHT - TOP - BOTTOM}" fill="${color}" opacity="0.18"/>`);
    parts.push(`<g><title>${escaped(fault.what)}</title><rect x="${from.toFixed(1)}" y="${lane}" width="${width.toFixed(1)}" height="${LANE - 3}" fill="${color}"/><text x="${(from + 2).toFixed(1)}" y="${lane + 9}" font-size="9">${escaped(fault.kind)}</text></g>`);
  }
  const barWidth = Math.max(0.5, x(1) - x(0) - 0.3);
  for (const [second, value] of perSecond.entries()) parts.push(`<rect x="${x(second).toFixed(1)}" y="${y(value).toFixed(1)}" width="${barWidth.toFixed(1)}" height="${(y(0) - y(value)).toFixed(1)}" fill="#2a6fbb"/>`);
  for (const value of [0, most / 2, most]) parts.push(`<text x="${LEFT - 6}" y="${(y(value) + 4).toFixed(1)}" text-anchor="end" font-size="11">${Math.round(value)}</text>`);
  const step = Math.max(1, Math.ceil(seconds / 12));
  for (let second = 0; second <= seconds; second += step) parts.push(`<text x="${x(second).toFixed(1)}" y="${HEIGHT - BOTTOM + 16}" text-anchor="middle" font-size="11">${second} s</text>`);
  parts.push(`<text x="${LEFT}" y="${TOP}" font-size="11">acknowledged operations and reads a second</text>`);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif">\n<rect width="100%" height="100%" fill="white"/>\n${parts.join("\n")}\n</svg>\n`;
}

/** Faults that overlap in time get lanes of their own. */
function lanesOf(faults: readonly Injected[]): Map<Injected, number> {
  const lanes = new Map<Injected, number>();
  for (const fault of [...faults].sort((a, b) => a.fromMs - b.fromMs)) {
    const taken = new Set([...lanes].filter(([other]) => other.toMs > fault.fromMs).map(([, lane]) => lane));
    let lane = 0;
    while (taken.has(lane)) lane++;
    lanes.set(fault, lane);
  }
  return lanes;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
