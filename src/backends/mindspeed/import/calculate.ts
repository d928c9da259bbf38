/** The sums of a shell, between `$((` and `))`, once their variables are numbers. */

/** Whole numbers with + - * / % and brackets, rounded towards zero as bash does; undefined for anything else. */
export function calculate(expression: string): number | undefined {
  const tokens = expression.match(/\d+|[-+*/%()]|[^\s]/g) ?? [];
  let at = 0;
  const factor = (): number => {
    const token = tokens[at++] ?? '';
    if (token === '-') return -factor();
    if (token !== '(') return /^\d+$/.test(token) ? Number(token) : NaN;
    const inner = sum();
    return tokens[at++] === ')' ? inner : NaN;
  };
  const product = (): number => {
    let value = factor();
    for (;;) {
      const operator = tokens[at] ?? '';
      if (!['*', '/', '%'].includes(operator)) return value;
      at += 1;
      const right = factor();
      value = operator === '*' ? value * right : operator === '/' ? Math.trunc(value / right) : value % right;
    }
  };
  const sum = (): number => {
    let value = product();
    for (;;) {
      const operator = tokens[at] ?? '';
      if (operator !== '+' && operator !== '-') return value;
      at += 1;
      value += operator === '+' ? product() : -product();
    }
  };
  const result = sum();
  return at === tokens.length && Number.isSafeInteger(result) ? result : undefined;
}
