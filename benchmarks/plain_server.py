"""What a team writes in twenty lines: FastAPI around sentence-transformers. The server that ours is compared with."""

import sys

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

app, model = FastAPI(), SentenceTransformer(sys.argv[1], device="cpu")


class Body(BaseModel):
    input: list[str]


@app.post("/v1/embeddings")
def embeddings(body: Body) -> dict:  # type: ignore[type-arg]
    vectors = model.encode(body.input)
    data = [{"object": "embedding", "index": i, "embedding": row.tolist()} for i, row in enumerate(vectors)]
    return {"object": "list", "data": data, "model": sys.argv[1]}


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
