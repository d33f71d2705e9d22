#!/usr/bin/env python3
"""milvus-lite behind a password, which it does not ask for by itself. Used by milvus.rs."""
import argparse
import base64

import grpc
from concurrent import futures
from milvus_lite.adapter.grpc.servicer import MilvusServicer
from milvus_lite.db import MilvusLite
from pymilvus.grpc_gen import milvus_pb2_grpc


class Password(grpc.ServerInterceptor):
    """Lets in who brings the token in the header `authorization`, as Milvus does."""

    def __init__(self, token):
        self.expected = base64.b64encode(token.encode()).decode()

        def refuse(_request, context):
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "auth check failure")

        self.refusal = grpc.unary_unary_rpc_method_handler(refuse)

    def intercept_service(self, continuation, details):
        given = dict(details.invocation_metadata).get("authorization")
        return continuation(details) if given == self.expected else self.refusal


parser = argparse.ArgumentParser()
parser.add_argument("--token", required=True)
parser.add_argument("--data-dir", required=True)
parser.add_argument("--port", required=True)
args = parser.parse_args()
server = grpc.server(futures.ThreadPoolExecutor(8), interceptors=[Password(args.token)])
milvus_pb2_grpc.add_MilvusServiceServicer_to_server(MilvusServicer(MilvusLite(args.data_dir)), server)
server.add_insecure_port(f"127.0.0.1:{args.port}")
server.start()
server.wait_for_termination()
