// What scenarios come to: `{ is }`, or `{ error }`.

async function outcome([name, run]) {
  try {
    return [name, { is: await run() }];
  } catch (error) {
    return [name, { error: { name: error.name, message: error.message, statusCode: error.statusCode } }];
  }
}

// Those named `last` run after all others and one by one.
export async function outcomes(scenarios, last = []) {
  const all = Object.entries(scenarios);
  const isLast = ([name]) => last.includes(name);
  const results = await Promise.all(all.filter((scenario) => !isLast(scenario)).map(outcome));
  for (const scenario of all.filter(isLast)) results.push(await outcome(scenario));
  return Object.fromEntries(results);
}
