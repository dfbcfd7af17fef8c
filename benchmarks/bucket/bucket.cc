// A stand-in for a bucket, as a file system of TensorFlow with the scheme bucket://.
//
// bucket://NAME/OBJECT is the file $BUCKET_ROOT/NAME/OBJECT. It behaves as object stores do: a read
// takes a round trip ($BUCKET_READ_MS milliseconds), an object appears when it is closed or flushed,
// folders need not be made, a rename is a copy and a removal, nothing can be appended to, and
// $BUCKET_DENIED=1 refuses every request, as for want of credentials. The delays are of this file
// system, so that no Python and no sleep is in any graph.

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <string>

#include "tensorflow/c/experimental/filesystem/filesystem_interface.h"
#include "tensorflow/c/tf_file_statistics.h"
#include "tensorflow/c/tf_status.h"

namespace {

std::atomic<int64_t> reads{0}, now_reading{0}, most_at_once{0};
void* (*allocate)(size_t);
void (*release)(void*);

const char* Variable(const char* name) {
  const char* value = getenv(name);
  return value ? value : "";
}

char* Copied(const std::string& text) {
  char* copy = static_cast<char*>(allocate(text.size() + 1));
  memcpy(copy, text.c_str(), text.size() + 1);
  return copy;
}

std::string LocalPath(const char* uri) {
  const char* within = strstr(uri, "://");
  std::string path = std::string(Variable("BUCKET_ROOT")) + "/" + (within ? within + 3 : uri);
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

bool Allowed(const char* path, TF_Status* status) {
  if (!*Variable("BUCKET_DENIED")) return true;
  TF_SetStatus(status, TF_PERMISSION_DENIED,
               (std::string("Error 401: no credentials, when reading ") + path).c_str());
  return false;
}

void Fail(TF_Status* status, const char* path) { TF_SetStatusFromIOError(status, errno, path); }

void RoundTrip() {
  reads++;
  int64_t now = ++now_reading, most = most_at_once;
  while (most < now && !most_at_once.compare_exchange_weak(most, now)) {
  }
  double ms = atof(Variable("BUCKET_READ_MS"));
  timespec left{static_cast<time_t>(ms / 1000),
                static_cast<long>(1e6 * (ms - 1000 * static_cast<long>(ms / 1000)))};
  while (nanosleep(&left, &left) && errno == EINTR) {
  }
  now_reading--;
}

void MakeParents(const std::string& path) {
  for (size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1))
    mkdir(path.substr(0, end).c_str(), 0777);
}

bool Publish(const std::string& path, const std::string& content) {
  static std::atomic<int64_t> number{0};
  MakeParents(path);
  std::string beside = path + ".uploading-" + std::to_string(getpid()) + "-" +
                       std::to_string(number++);
  FILE* file = fopen(beside.c_str(), "wb");
  if (!file) return false;
  bool whole = fwrite(content.data(), 1, content.size(), file) == content.size();
  whole &= fclose(file) == 0;
  return whole && rename(beside.c_str(), path.c_str()) == 0;
}

bool Content(const std::string& path, std::string* content) {
  FILE* file = fopen(path.c_str(), "rb");
  if (!file) return false;
  char chunk[1 << 16];
  size_t n;
  while ((n = fread(chunk, 1, sizeof chunk, file))) content->append(chunk, n);
  fclose(file);
  return true;
}

// Files that are read.

void CloseRead(TF_RandomAccessFile* file) {
  close(static_cast<int>(reinterpret_cast<intptr_t>(file->plugin_file)) - 1);
}

int64_t Read(const TF_RandomAccessFile* file, uint64_t offset, size_t n, char* buffer,
             TF_Status* status) {
  RoundTrip();
  int number = static_cast<int>(reinterpret_cast<intptr_t>(file->plugin_file)) - 1;
  size_t done = 0;
  while (done < n) {
    ssize_t got = pread(number, buffer + done, n - done, offset + done);
    if (got < 0) {
      Fail(status, "read");
      return -1;
    }
    if (!got) break;
    done += got;
  }
  TF_SetStatus(status, done < n ? TF_OUT_OF_RANGE : TF_OK, done < n ? "Read to the end" : "");
  return done;
}

// Files that are written.

struct Upload {
  std::string path, content;
};

Upload* Of(const TF_WritableFile* file) { return static_cast<Upload*>(file->plugin_file); }

void CloseWrite(TF_WritableFile* file) { delete Of(file); }

void Append(const TF_WritableFile* file, const char* buffer, size_t n, TF_Status* status) {
  Of(file)->content.append(buffer, n);
  TF_SetStatus(status, TF_OK, "");
}

int64_t Tell(const TF_WritableFile* file, TF_Status* status) {
  TF_SetStatus(status, TF_OK, "");
  return Of(file)->content.size();
}

void Flush(const TF_WritableFile* file, TF_Status* status) {
  TF_SetStatus(status, TF_OK, "");
  if (!Publish(Of(file)->path, Of(file)->content)) Fail(status, Of(file)->path.c_str());
}

// The file system.

void Init(TF_Filesystem* filesystem, TF_Status* status) { TF_SetStatus(status, TF_OK, ""); }

void Cleanup(TF_Filesystem* filesystem) {}

void OpenRead(const TF_Filesystem* filesystem, const char* path, TF_RandomAccessFile* file,
              TF_Status* status) {
  if (!Allowed(path, status)) return;
  int number = open(LocalPath(path).c_str(), O_RDONLY);
  if (number < 0) return Fail(status, path);
  file->plugin_file = reinterpret_cast<void*>(static_cast<intptr_t>(number) + 1);
  TF_SetStatus(status, TF_OK, "");
}

void OpenWrite(const TF_Filesystem* filesystem, const char* path, TF_WritableFile* file,
               TF_Status* status) {
  if (!Allowed(path, status)) return;
  file->plugin_file = new Upload{LocalPath(path), ""};
  TF_SetStatus(status, TF_OK, "");
}

void OpenAppend(const TF_Filesystem* filesystem, const char* path, TF_WritableFile* file,
                TF_Status* status) {
  TF_SetStatus(status, TF_UNIMPLEMENTED, "A bucket's objects cannot be appended to.");
}

void MakeFolder(const TF_Filesystem* filesystem, const char* path, TF_Status* status) {
  if (!Allowed(path, status)) return;
  MakeParents(LocalPath(path) + "/");
  TF_SetStatus(status, TF_OK, "");
}

void RemoveFile(const TF_Filesystem* filesystem, const char* path, TF_Status* status) {
  if (!Allowed(path, status)) return;
  TF_SetStatus(status, TF_OK, "");
  if (unlink(LocalPath(path).c_str())) Fail(status, path);
}

void RemoveFolder(const TF_Filesystem* filesystem, const char* path, TF_Status* status) {
  if (!Allowed(path, status)) return;
  TF_SetStatus(status, TF_OK, "");
  if (rmdir(LocalPath(path).c_str())) Fail(status, path);
}

void CopyObject(const TF_Filesystem* filesystem, const char* from, const char* to,
                TF_Status* status) {
  if (!Allowed(from, status)) return;
  std::string content;
  TF_SetStatus(status, TF_OK, "");
  if (!Content(LocalPath(from), &content)) return Fail(status, from);
  if (!Publish(LocalPath(to), content)) Fail(status, to);
}

void Rename(const TF_Filesystem* filesystem, const char* from, const char* to, TF_Status* status) {
  CopyObject(filesystem, from, to, status);
  if (TF_GetCode(status) == TF_OK) RemoveFile(filesystem, from, status);
}

void Exists(const TF_Filesystem* filesystem, const char* path, TF_Status* status) {
  if (!Allowed(path, status)) return;
  TF_SetStatus(status, TF_OK, "");
  if (access(LocalPath(path).c_str(), F_OK)) Fail(status, path);
}

void Stat(const TF_Filesystem* filesystem, const char* path, TF_FileStatistics* statistics,
          TF_Status* status) {
  if (!Allowed(path, status)) return;
  struct stat found;
  if (stat(LocalPath(path).c_str(), &found)) return Fail(status, path);
  statistics->length = found.st_size;
  statistics->mtime_nsec = found.st_mtim.tv_sec * 1000000000LL + found.st_mtim.tv_nsec;
  statistics->is_directory = S_ISDIR(found.st_mode);
  TF_SetStatus(status, TF_OK, "");
}

bool IsFolder(const TF_Filesystem* filesystem, const char* path, TF_Status* status) {
  TF_FileStatistics statistics;
  Stat(filesystem, path, &statistics, status);
  if (TF_GetCode(status) != TF_OK) return false;
  if (!statistics.is_directory) TF_SetStatus(status, TF_FAILED_PRECONDITION, path);
  return statistics.is_directory;
}

int64_t Size(const TF_Filesystem* filesystem, const char* path, TF_Status* status) {
  TF_FileStatistics statistics;
  Stat(filesystem, path, &statistics, status);
  return TF_GetCode(status) == TF_OK ? statistics.length : -1;
}

char* Same(const TF_Filesystem* filesystem, const char* uri) { return Copied(uri); }

int Children(const TF_Filesystem* filesystem, const char* path, char*** entries,
             TF_Status* status) {
  if (!Allowed(path, status)) return -1;
  dirent** found;
  int count = scandir(LocalPath(path).c_str(), &found, nullptr, alphasort);
  if (count < 0) {
    Fail(status, path);
    return -1;
  }
  *entries = static_cast<char**>(allocate(count * sizeof(char*) + 1));
  int kept = 0;
  for (int i = 0; i < count; i++) {
    std::string name = found[i]->d_name;
    free(found[i]);
    if (name != "." && name != "..") (*entries)[kept++] = Copied(name);
  }
  free(found);
  TF_SetStatus(status, TF_OK, "");
  return kept;
}

}  // namespace

extern "C" int64_t bucket_reads() { return reads.exchange(0); }
extern "C" int64_t bucket_most_at_once() { return most_at_once.exchange(0); }

extern "C" void TF_InitPlugin(TF_FilesystemPluginInfo* info) {
  allocate = info->plugin_memory_allocate = [](size_t size) { return calloc(1, size); };
  release = info->plugin_memory_free = [](void* pointer) { free(pointer); };
  info->num_schemes = 1;
  TF_FilesystemPluginOps* ops = static_cast<TF_FilesystemPluginOps*>(allocate(sizeof *ops));
  info->ops = ops;
  TF_SetFilesystemVersionMetadata(ops);
  ops->scheme = Copied("bucket");

  auto* file = static_cast<TF_RandomAccessFileOps*>(allocate(TF_RANDOM_ACCESS_FILE_OPS_SIZE));
  file->cleanup = CloseRead;
  file->read = Read;
  ops->random_access_file_ops = file;

  auto* upload = static_cast<TF_WritableFileOps*>(allocate(TF_WRITABLE_FILE_OPS_SIZE));
  upload->cleanup = CloseWrite;
  upload->append = Append;
  upload->tell = Tell;
  upload->flush = upload->sync = upload->close = Flush;
  ops->writable_file_ops = upload;

  auto* system = static_cast<TF_FilesystemOps*>(allocate(TF_FILESYSTEM_OPS_SIZE));
  system->init = Init;
  system->cleanup = Cleanup;
  system->new_random_access_file = OpenRead;
  system->new_writable_file = OpenWrite;
  system->new_appendable_file = OpenAppend;
  system->create_dir = system->recursively_create_dir = MakeFolder;
  system->delete_file = RemoveFile;
  system->delete_dir = RemoveFolder;
  system->rename_file = Rename;
  system->copy_file = CopyObject;
  system->path_exists = Exists;
  system->stat = Stat;
  system->is_directory = IsFolder;
  system->get_file_size = Size;
  system->translate_name = Same;
  system->get_children = Children;
  ops->filesystem_ops = system;
}
