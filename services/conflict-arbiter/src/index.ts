// The arbiter's configuration, for the page that documents it, and the arbiter itself for processes that embed it.
export { program } from "./options.ts";
export { serveArbiter } from "./serve.ts";
