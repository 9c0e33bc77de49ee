// Events as they are ingested, over server-sent events.
import { createClient } from 'graphql-sse';
import { pause, position, resuming } from './hogsend.mjs';

const { HOGSEND_URL, HOGSEND_KEY } = process.env;
const client = resuming(
  createClient({
    url: HOGSEND_URL,
    headers: { authorization: `Bearer ${HOGSEND_KEY}` },
    retryAttempts: Infinity,
    retry: pause,
  }),
);

const query = 'subscription ($after: String) { eventReceived(after: $after) { event { name } } }';
const after = await position(HOGSEND_URL, HOGSEND_KEY);
client.subscribe(
  { query, variables: { after } },
  {
    next: ({ data }) => console.log(data.eventReceived.event.name),
    error: (problem) => console.error(problem),
    complete: () => {},
  },
);
