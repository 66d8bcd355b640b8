# The image of kas, agentk and kas-gitserver for those who have Docker: docker build -t kas .
# It is built by the same script as `npm run image`; the last stage is the file system that the script writes.
FROM node:24-bookworm AS build
WORKDIR /src
COPY . .
RUN npm ci --no-audit --no-fund \
 && npm run image \
 && mkdir /layout /root-fs \
 && tar -xf dist/image/kas-*.tar -C /layout \
 && node image/unpack.ts /layout /root-fs

FROM scratch
COPY --from=build /root-fs /
ENV PATH=/usr/local/bin:/usr/bin MALLOC_ARENA_MAX=2
USER 65532:65532
STOPSIGNAL SIGTERM
CMD ["kas", "--help"]
