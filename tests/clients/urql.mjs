// Events as they are ingested, with urql.
import { Client, fetchExchange, subscriptionExchange } from '@urql/core';
import { connect, position, resuming } from './hogsend.mjs';

const { HOGSEND_URL, HOGSEND_KEY } = process.env;
const socket = resuming(connect(HOGSEND_URL, HOGSEND_KEY));
const client = new Client({
  url: HOGSEND_URL,
  fetchOptions: { headers: { authorization: `Bearer ${HOGSEND_KEY}` } },
  exchanges: [
    fetchExchange,
    subscriptionExchange({
      forwardSubscription: (operation) => ({
        subscribe: (sink) => ({ unsubscribe: socket.subscribe(operation, sink) }),
      }),
    }),
  ],
});

const query = 'subscription ($after: String) { eventReceived(after: $after) { event { name } } }';
const after = await position(HOGSEND_URL, HOGSEND_KEY);
client.subscription(query, { after }).subscribe(({ data, error }) => {
  if (error) console.error(error);
  else console.log(data.eventReceived.event.name);
});
