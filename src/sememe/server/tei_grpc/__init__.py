"""The server over gRPC, in text-embeddings-inference's interface (`tei.proto`), for `sememe serve --grpc-port`."""
