// Sums that go round at 2^53, so that they stay exact however much is added. They tell what is equal, not what is more.

const MODULUS = 2 ** 53;

/**
 * The sum modulo 2^53, exact at every step.
 *
 * @param sum a whole number from 0 to 2^53-1, as this function answers it
 * @param summand a whole number from -(2^53-1) to 2^53-1
 */
export function addModulo(sum: number, summand: number): number {
  if (summand < 0) return sum + summand < 0 ? sum + summand + MODULUS : sum + summand;
  const room = MODULUS - sum;
  return summand >= room ? summand - room : sum + summand;
}
