// Without a validator nothing is asked of another server.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#viewer",
  validatorUrl: null,
  queryConfigEnabled: false,
  deepLinking: true,
});
