import { type DestinationStream, type Logger, pino } from "pino";

export type { Logger } from "pino";

/** What a log line is labelled with, and what it must not show. */
export interface LoggerSettings {
  readonly service: string;
  readonly level: string;
  /** Labels of every line, such as the node's id. */
  readonly labels?: Readonly<Record<string, string | number>>;
  /** Texts that are replaced by `[redacted]` wherever they turn up, also inside messages of drivers. */
  readonly secrets?: readonly string[];
  /** Standard output by default. */
  readonly destination?: DestinationStream;
}

/** Shorter texts than this are not searched for: they would blank out half of the log. */
const SECRET_LENGTH_MIN = 4;

/** JSON lines with ISO time. Written synchronously: a crash loses none. */
export function createLogger(settings: LoggerSettings): Logger {
  const secrets = secretForms(settings.secrets ?? []);
  return pino(
    {
      level: settings.level,
      base: { service: settings.service, ...settings.labels },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: ["password", "*.password", "authorization", "*.authorization"], censor: "[redacted]" },
      ...(secrets.length === 0 ? {} : { hooks: { streamWrite: (line: string) => withoutSecrets(line, secrets) } }),
    },
    settings.destination ?? pino.destination({ fd: 1, sync: true }),
  );
}

/** A secret as it may stand in a line: as it is and JSON-escaped; of a connection URL its password too. */
function secretForms(secrets: readonly string[]): string[] {
  const forms = new Set<string>();
  for (const secret of secrets) {
    const password = URL.canParse(secret) ? new URL(secret).password : "";
    for (const text of [secret, password, decodeURIComponent(password)]) {
      if (text.length < SECRET_LENGTH_MIN) continue;
      forms.add(text);
      forms.add(JSON.stringify(text).slice(1, -1));
    }
  }
  return [...forms].sort((a, b) => b.length - a.length);
}

function withoutSecrets(line: string, secrets: readonly string[]): string {
  let clean = line;
  for (const secret of secrets) clean = clean.replaceAll(secret, "[redacted]");
  return clean;
}
