// Pages of a read: entities and eventual values of a region, each in an order of its own that is the same on every node. A page goes on
// with both where the one before ended.
import type { Region } from "@statemesh/contract";
import { formatRegion } from "@statemesh/world";
import { foreignPageToken, pageChecksum } from "./page-token.ts";

/** Nothing more of it. */
export const DONE = Symbol("done");

export interface ValueName {
  readonly key: string;
  readonly type: string;
}

/** The last entity and the last value of a page; undefined: nothing was read yet. */
export interface PagePlace {
  readonly entity: string | undefined | typeof DONE;
  readonly value: ValueName | undefined | typeof DONE;
}

/** Before what a token with values says, in its checksum. */
const VALUES = "values\n";

const START: PagePlace = { entity: undefined, value: undefined };

export function compareTexts(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The first items after one, in order: a region may have far more than a page. */
export function leastOf<Item extends Name, Name>(items: Iterable<Item>, compare: (a: Name, b: Name) => number, after: Name | undefined, count: number): Item[] {
  const least: Item[] = [];
  let greatest: Item | undefined;
  for (const item of items) {
    if ((after !== undefined && compare(item, after) <= 0) || (greatest !== undefined && compare(item, greatest) >= 0)) continue;
    least.push(item);
    if (least.length < 2 * count) continue;
    least.sort(compare).length = count;
    greatest = least[count - 1];
  }
  return least.sort(compare).slice(0, count);
}

/**
 * A token is where its page ended, bound to the region by a checksum: one from elsewhere is told apart. With no values left it is the
 * name of the last entity, as nodes say it that page entities only; they refuse the others.
 */
export function sealPageToken({ entity, value }: PagePlace, region: Region): string {
  if (value === DONE && typeof entity === "string") return `${checksum(region, entity)}.${encodeURIComponent(entity)}`;
  const body = JSON.stringify([typeof entity === "string" ? entity : null, ...(typeof value === "object" ? [value.key, value.type] : [])]);
  return `${checksum(region, `${VALUES}${body}`)}.${encodeURIComponent(body)}`;
}

/** Where the page after a request's token begins. Throws INVALID_PAGE_TOKEN, also where the token goes on with values and the request wants none: nothing would be said of them. */
export function placeOfPage({ pageToken, includeEventual }: { readonly pageToken: string; readonly includeEventual: boolean }, region: Region): PagePlace {
  const place = pageToken === "" ? START : openPageToken(pageToken, region);
  if (typeof place.value === "object" && !includeEventual) throw foreignPageToken();
  return place;
}

/** Throws INVALID_PAGE_TOKEN. */
export function openPageToken(token: string, region: Region): PagePlace {
  const dot = token.indexOf(".");
  try {
    const body = decodeURIComponent(token.slice(dot + 1));
    const mark = token.slice(0, Math.max(0, dot));
    if (mark === checksum(region, body)) return { entity: body, value: DONE };
    if (mark === checksum(region, `${VALUES}${body}`)) return placeOf(JSON.parse(body));
  } catch (error) {
    if (!(error instanceof URIError) && !(error instanceof SyntaxError)) throw error;
  }
  throw foreignPageToken();
}

function placeOf(body: unknown): PagePlace {
  const [entity, key, type] = Array.isArray(body) ? (body as unknown[]) : [];
  if ((entity !== null && typeof entity !== "string") || typeof key !== "string" || typeof type !== "string") throw foreignPageToken();
  return { entity: entity ?? DONE, value: { key, type } };
}

function checksum(region: Region, body: string): string {
  return pageChecksum(formatRegion(region), body);
}
