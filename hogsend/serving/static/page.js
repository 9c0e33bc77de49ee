"use strict";

const config = JSON.parse(document.getElementById("config").textContent);
const socketUrl = location.origin.replace(/^http/, "ws") + "/graphql";

// What the headers editor says becomes the payload of connection_init, so a subscription needs no other key.
function subscribe(request, headers) {
  const client = graphqlWs.createClient({
    url: socketUrl,
    connectionParams: headers,
    lazy: true,
    retryAttempts: 5,
  });
  return client.iterate(request);
}

async function post(request, headers) {
  const response = await fetch("/graphql", {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      Accept: "application/graphql-response+json, application/json;q=0.9",
      ...headers,
    },
    body: JSON.stringify(request),
  });
  return response.json();
}

function isSubscription(document, name) {
  const operations = (document ? document.definitions : []).filter((part) => part.kind === "OperationDefinition");
  const chosen = operations.length === 1 ? operations[0] : operations.find((part) => part.name?.value === name);
  return chosen?.operation === "subscription";
}

function fetcher(request, options) {
  const headers = options?.headers || {};
  return isSubscription(options?.documentAST, request.operationName)
    ? subscribe(request, headers)
    : post(request, headers);
}

const headers = JSON.stringify({ Authorization: `Bearer ${config.key || "<your key>"}` }, null, 2);

// A link may bring a query with it: #query=…&variables=…, which no server on the way sees. It is shown, not run.
const linked = new URLSearchParams(location.hash.slice(1));
const given = linked.has("query")
  ? [{ query: linked.get("query"), variables: linked.get("variables") || "{}", headers }]
  : [];

ReactDOM.createRoot(document.getElementById("graphiql")).render(
  React.createElement(GraphiQL, {
    fetcher,
    defaultHeaders: headers,
    // Whoever was here before has tabs of their own: this one is added to them.
    ...given[0],
    defaultTabs: [...given, ...config.tabs.map((tab) => ({ ...tab, headers }))],
    defaultEditorToolsVisibility: "headers",
    shouldPersistHeaders: false,
    defaultTheme: null,
  }),
);
