// OpenRouter's own SDK against the router at ROUTER_URL: it checks every answer against its schemas.
// Prints one JSON object: what each scenario came to, or the error that it ended with.

import { OpenRouter } from '@openrouter/sdk';
import { outcomes } from './outcomes.mjs';

const client = new OpenRouter({ apiKey: 'sk-client', serverURL: `${process.env.ROUTER_URL}/api/v1`, retryConfig: { strategy: 'none' } });
const messages = [{ role: 'user', content: 'hello' }];
const send = (more = {}) => client.chat.send({ chatRequest: { model: 'small', messages, ...more } });

const scenarios = {
  chat: () => send(),
  stream: async () => {
    const chunks = [];
    for await (const chunk of await send({ stream: true })) chunks.push(chunk);
    return chunks;
  },
  preferred: () => send({ provider: { order: ['two/flex'], maxPrice: { prompt: '5' }, dataCollection: 'allow', sort: 'price' } }),
  models: () => client.models.list(),
  endpoints: () => client.endpoints.list({ author: 'vendor', slug: 'small' }),
  providers: () => client.providers.list(),
  key: () => client.apiKeys.getCurrentKeyMetadata(),
  credits: () => client.credits.getCredits(),
  generation: async () => client.generations.getGeneration({ id: (await send()).id }),
  responses: () => client.beta.responses.send({ responsesRequest: { model: 'small', input: 'hello' } }),
  unknown: () => send({ model: 'nope' }),
  nothingLeft: () => send({ provider: { only: ['mars'] } }),
};

process.stdout.write(JSON.stringify(await outcomes(scenarios)));
