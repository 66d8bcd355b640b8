import {
  ObjectCacheService as definition,
  type GetObjectRequest,
  type ListObjectsRequest,
  type WatchObjectsRequest,
} from '../../proto/gen/kas/agent/v1/object_cache.ts';
import { type AgentService, serverStreaming, unary } from '../services/agent-service.ts';
import type { ObjectCacheCalls } from './object-cache-calls.ts';

/** `kas.agent.v1.ObjectCache`, for callers outside of the cluster. */
export function objectCacheService(service: ObjectCacheCalls): AgentService {
  return {
    definition,
    handlers: {
      listSelections: unary(() => service.listSelections()),
      getObject: unary((request: GetObjectRequest) => service.getObject(request)),
      listObjects: serverStreaming((request: ListObjectsRequest) => service.listObjects(request)),
      watchObjects: serverStreaming((request: WatchObjectsRequest, { signal }) => service.watchObjects(request, signal)),
    },
  };
}
