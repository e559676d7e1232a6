// Every way of using OpenRouter's AI SDK provider that an application has, against the router at ROUTER_URL.
// Prints one JSON object: what each scenario came to, or the error that it ended with.

import { createOpenRouter } from '@openrouter/ai-sdk-provider';
import { embed, generateObject, generateText, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';
import { outcomes } from './outcomes.mjs';

const openrouter = createOpenRouter({ baseURL: `${process.env.ROUTER_URL}/api/v1`, apiKey: 'sk-client' });

const weather = tool({
  description: 'the weather in a city',
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `sunny in ${city}`,
});

// `maxRetries: 0`: what the router has given up must reach the application at once.
const asking = (prompt, more = {}) => ({ model: openrouter('small', more.settings), prompt, maxRetries: 0, ...more.call });

const told = (result) => ({
  text: result.text,
  finishReason: result.finishReason,
  usage: result.usage,
  id: result.response?.id,
  model: result.response?.modelId,
  metadata: result.providerMetadata?.openrouter,
});

async function streamed(options) {
  const errors = [];
  const result = streamText({ ...options, onError: ({ error }) => errors.push(String(error?.message ?? error)) });
  const parts = [];
  for await (const part of result.fullStream) parts.push(part);
  if (errors.length > 0) return { errors, text: parts.filter((p) => p.type === 'text-delta').map((p) => p.text).join('') };
  return {
    ...told({
      text: await result.text,
      finishReason: await result.finishReason,
      usage: await result.totalUsage,
      response: await result.response,
      providerMetadata: await result.providerMetadata,
    }),
    reasoning: await result.reasoningText,
    calls: parts.filter((part) => part.type === 'tool-call').map((part) => [part.toolName, part.input]),
  };
}

const withTools = { call: { tools: { weather }, stopWhen: stepCountIs(3) } };

const scenarios = {
  text: async () => told(await generateText(asking('hello'))),
  stream: () => streamed(asking('hello')),
  accounted: async () => told(await generateText(asking('hello', { settings: { usage: { include: true } } }))),
  tools: async () => {
    const result = await generateText(asking('weather', withTools));
    return { ...told(result), calls: result.steps.flatMap((s) => s.toolCalls.map((c) => [c.toolName, c.input])) };
  },
  streamedTools: () => streamed(asking('weather', withTools)),
  object: async () => (await generateObject({ ...asking('object'), schema: z.object({ city: z.string() }) })).object,
  reasoning: async () => (await generateText(asking('think'))).reasoningText,
  streamedReasoning: async () => (await streamed(asking('think'))).reasoning,
  embedding: async () => {
    const found = await embed({ model: openrouter.textEmbeddingModel('small'), value: 'hello', maxRetries: 0 });
    return { length: found.embedding.length, usage: found.usage };
  },
  listed: async () =>
    told(await generateText({ ...asking('hello'), model: openrouter('nope', { models: ['small', 'large'] }) })),
  preferred: async () => told(await generateText(asking('hello', { settings: { provider: { order: ['two'] } } }))),
  floor: async () => told(await generateText({ ...asking('hello'), model: openrouter('small:floor') })),
  unknown: () => generateText({ ...asking('hello'), model: openrouter('nope') }),
  mistaken: () => generateText(asking('hello', { settings: { extraBody: { provider: { allow_fallback: true } } } })),
  nothingLeft: () => generateText(asking('hello', { settings: { provider: { only: ['mars'] } } })),
  failed: () => generateText(asking('fail')),
  streamFailed: () => streamed(asking('fail')),
  cut: () => streamed(asking('cut')),
  completion: async () => told(await generateText({ ...asking('hello'), model: openrouter.completion('small') })),
};

// Those that make a provider fail come last: the router remembers failures, and goes elsewhere.
process.stdout.write(JSON.stringify(await outcomes(scenarios, ['failed', 'streamFailed', 'cut'])));
