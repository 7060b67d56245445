import services from "@pulumi/pulumi/proto/analyzer_grpc_pb.js";

/** Refuses configuration of rules that the pack does not have, whoever starts it: the engine hands on any name, and the
 *  SDK takes what a name stands for only if a rule asks. Must be called before the pack is made, as the server takes over
 *  how messages are read. */
export function refuseUnknownRules(known: readonly string[]): void {
  const method = services.AnalyzerService.configure;
  const read = method.requestDeserialize;
  method.requestDeserialize = (bytes) => {
    const request = read(bytes);
    const unknown = [...request.getPolicyconfigMap().keys()].filter((name) => name !== "all" && !known.includes(name));
    if (unknown.length > 0)
      // What is thrown here would be told as "Error deserializing request"; what the handler meets is told whole.
      request.getPolicyconfigMap = () => {
        throw new Error(
          `policy config ${unknown.join(", ")}: unknown ${unknown.length > 1 ? "rules" : "rule"}; rules are ${known.join(", ")}`,
        );
      };
    return request;
  };
}
