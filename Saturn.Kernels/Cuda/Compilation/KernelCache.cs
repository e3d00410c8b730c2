using System.Collections.Concurrent;
using System.Security.Cryptography;

namespace Saturn.Kernels.Cuda.Compilation;

/// <summary>
/// Compiled modules by key, in the process and in a folder that any number of processes share. An entry is written under a temporary name and renamed, and carries a hash of its content: a damaged one
/// is compiled again and replaced. When the folder exceeds its limit, the entries that were not used for longest go. A folder that cannot be used costs time, never correctness.
/// </summary>
/// <param name="folder">The folder, or null to keep nothing on disk.</param>
/// <param name="limitBytes">The most that the folder may hold.</param>
internal sealed class KernelCache(string? folder, long limitBytes = KernelCache.DefaultLimitBytes)
{
    /// <summary>Part of every key, so that a change of the file format or of what is compiled makes old entries unreachable.</summary>
    public const int FormatVersion = 1;

    /// <summary>256 MiB, about two thousand modules.</summary>
    public const long DefaultLimitBytes = 256L << 20;

    private const string Extension = ".kernel";
    private const uint Magic = 0x4B544153; // "SATK"

    private static readonly TimeSpan AbandonedAfter = TimeSpan.FromHours(1);

    private readonly ConcurrentDictionary<string, Lazy<CompiledModule>> memory = new(StringComparer.Ordinal);

    /// <summary>The folder, or null.</summary>
    public string? Folder => folder;

    /// <summary>The module of a key: remembered, read, or compiled; threads that ask for the same one at once wait for one compilation.</summary>
    public CompiledModule Get(string key, Func<CompiledModule> compile)
    {
        Lazy<CompiledModule> entry = memory.GetOrAdd(key, key => new Lazy<CompiledModule>(() => Read(key) ?? Store(key, compile())));
        try
        {
            return entry.Value;
        }
        catch
        {
            // The next one tries again.
            memory.TryRemove(new(key, entry));
            throw;
        }
    }

    /// <summary>Puts a fresh module in the place of what the folder holds.</summary>
    public CompiledModule Store(string key, CompiledModule module)
    {
        if (folder is null)
        {
            return module;
        }

        string path = PathOf(key);
        string temporary = $"{path}.{Environment.ProcessId}-{Guid.NewGuid():N}";
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllBytes(temporary, Serialize(module));
            File.Move(temporary, path, overwrite: true);
            Trim();
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            Delete(temporary);
        }

        return module;
    }

    /// <summary>The file of a key.</summary>
    public string PathOf(string key) => Path.Combine(folder!, key[..2], key + Extension);

    private CompiledModule? Read(string key)
    {
        if (folder is null)
        {
            return null;
        }

        string path = PathOf(key);
        try
        {
            CompiledModule? module = Deserialize(File.ReadAllBytes(path));
            if (module is not null)
            {
                // File systems rarely record reads.
                File.SetLastAccessTimeUtc(path, DateTime.UtcNow);
            }

            return module;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private void Trim()
    {
        List<FileInfo> entries = [];
        foreach (FileInfo file in new DirectoryInfo(folder!).EnumerateFiles("*", SearchOption.AllDirectories))
        {
            if (file.Extension == Extension)
            {
                entries.Add(file);
            }
            else if (DateTime.UtcNow - file.LastWriteTimeUtc > AbandonedAfter)
            {
                Delete(file.FullName);
            }
        }

        // Another process may delete at the same time: what is gone has no length.
        long total = entries.Sum(LengthOf);
        foreach (FileInfo file in entries.OrderBy(file => file.LastAccessTimeUtc))
        {
            if (total <= limitBytes)
            {
                return;
            }

            total -= LengthOf(file);
            Delete(file.FullName);
        }
    }

    private static long LengthOf(FileInfo file)
    {
        try
        {
            return file.Length;
        }
        catch (FileNotFoundException)
        {
            return 0;
        }
    }

    private static void Delete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // Another process uses it; a later pass takes it.
        }
    }

    // Magic, SHA-256 of what follows, then the module.
    private static byte[] Serialize(CompiledModule module)
    {
        using MemoryStream stream = new();
        using BinaryWriter writer = new(stream);
        writer.Write(Magic);
        writer.Write(new byte[SHA256.HashSizeInBytes]);
        writer.Write(module.SourceName);
        writer.Write(module.Architecture);
        writer.Write(module.Log);
        writer.Write(module.Kernels.Count);
        foreach (KernelResources kernel in module.Kernels)
        {
            writer.Write(kernel.Name);
            foreach (int? figure in (int?[])[kernel.Registers, kernel.SpillStoreBytes, kernel.SpillLoadBytes, kernel.StackBytes, kernel.SharedBytes])
            {
                writer.Write(figure ?? -1);
            }
        }

        writer.Write(module.Image.Length);
        writer.Write(module.Image);
        writer.Flush();
        byte[] bytes = stream.ToArray();
        SHA256.HashData(bytes.AsSpan(sizeof(uint) + SHA256.HashSizeInBytes), bytes.AsSpan(sizeof(uint), SHA256.HashSizeInBytes));
        return bytes;
    }

    private static CompiledModule? Deserialize(byte[] bytes)
    {
        const int Header = sizeof(uint) + SHA256.HashSizeInBytes;
        if (bytes.Length < Header || BitConverter.ToUInt32(bytes) != Magic || !bytes.AsSpan(sizeof(uint), SHA256.HashSizeInBytes).SequenceEqual(SHA256.HashData(bytes.AsSpan(Header))))
        {
            return null;
        }

        using BinaryReader reader = new(new MemoryStream(bytes, Header, bytes.Length - Header));
        string sourceName = reader.ReadString();
        string architecture = reader.ReadString();
        string log = reader.ReadString();
        KernelResources[] kernels = new KernelResources[reader.ReadInt32()];
        for (int i = 0; i < kernels.Length; i++)
        {
            kernels[i] = new KernelResources(reader.ReadString(), Figure(), Figure(), Figure(), Figure(), Figure());
        }

        return new CompiledModule(sourceName, architecture, reader.ReadBytes(reader.ReadInt32()), kernels, log);

        int? Figure() => reader.ReadInt32() is >= 0 and int figure ? figure : null;
    }
}
