// Time and order: hybrid logical clock, sparse vector clock, sets of sequences.
export * from "./hybrid-clock.ts";
export * from "./vector-clock.ts";
export * from "./sequence-set.ts";
