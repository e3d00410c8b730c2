using System.Runtime.InteropServices;
using Saturn.Engine.Autograd;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Engine;

/// <summary>
/// An array on a device: a light handle that can be copied freely. The data belong to the innermost <see cref="TensorScope"/> that was open when
/// the tensor was made, or else to whoever made it, who disposes it. Using a tensor after its data were freed throws.
/// Layout: row-major with a pitched last dimension (<see cref="Kernels.Shape.Pitch"/>); images are NHWC.
/// </summary>
public readonly struct Tensor : IDisposable, IEquatable<Tensor>
{
    private readonly TensorHandle? handle;
    private readonly int version;

    internal Tensor(TensorHandle handle)
    {
        this.handle = handle;
        version = handle.Version;
    }

    /// <summary>Whether this is <c>default</c>: no tensor at all.</summary>
    public bool IsNone => handle is null;

    /// <summary>Whether the data are still there.</summary>
    public bool IsAlive => handle is not null && handle.Version == version && handle.Storage is not null;

    /// <summary>The extents.</summary>
    public Shape Shape => Handle.Shape;

    /// <summary>The element type.</summary>
    public ElementType Type => Handle.Type;

    /// <summary>Where the data are.</summary>
    public Device Device => Handle.Device;

    /// <summary>The data's device memory, for kernels: <see cref="Kernels.Shape.StorageCount"/> elements.</summary>
    public DeviceBuffer Buffer => Handle.Storage!.Buffer;

    /// <summary>Whether operations on this tensor are recorded for the backward pass.</summary>
    public bool RequiresGradient => Handle.RequiresGradient;

    /// <summary>The parameter whose value this is, if any.</summary>
    public Parameter? Parameter => Handle.Parameter;

    /// <summary>Identifies the value among all values of the process, on the tape too (<see cref="TapeValue.Id"/>); later values have larger numbers.</summary>
    public long Id => Handle.Id;

    internal TensorHandle Handle
    {
        get
        {
            if (handle is null)
            {
                throw new InvalidOperationException("This tensor was never assigned (it is default).");
            }

            if (handle.Version != version || handle.Storage is null)
            {
                throw new ObjectDisposedException(
                    nameof(Tensor), "The tensor's data were freed: its scope has ended or it was disposed. Use TensorScope.Keep to let a result outlive its scope.");
            }

            return handle;
        }
    }

    /// <summary>Allocates a tensor with undefined contents, for operations that write all of it, padding included.</summary>
    public static Tensor Allocate(Device device, in Shape shape, ElementType type = ElementType.Float32) =>
        Own(TensorHandle.Create(device, shape, type, Storage.Allocate(device, shape.StorageCount, type)));

    /// <summary>Allocates a tensor that no scope owns; whoever calls disposes it.</summary>
    public static Tensor AllocateUnscoped(Device device, in Shape shape, ElementType type = ElementType.Float32) =>
        new(TensorHandle.Create(device, shape, type, Storage.Allocate(device, shape.StorageCount, type)));

    /// <summary>Another value on the tape with the same data, of which nothing is copied; an operation that is the identity returns it. Nobody may write to either while both live.</summary>
    internal static Tensor Alias(Tensor tensor)
    {
        TensorHandle source = tensor.Handle;
        source.Storage!.Retain();
        return Own(TensorHandle.Create(source.Device, source.Shape, source.Type, source.Storage));
    }

    /// <summary>A tensor of zeros.</summary>
    public static Tensor Zeros(Device device, in Shape shape, ElementType type = ElementType.Float32)
    {
        Tensor tensor = Allocate(device, shape, type);
        device.Clear(tensor.Buffer);
        return tensor;
    }

    /// <summary>A tensor with one value everywhere.</summary>
    public static Tensor Full(Device device, in Shape shape, float value)
    {
        Tensor tensor = Allocate(device, shape);
        device.Elementwise.Fill(shape, tensor.Buffer, value);
        return tensor;
    }

    /// <summary>A float tensor from values in row-major order without padding.</summary>
    /// <exception cref="ArgumentException">The number of values is not the shape's.</exception>
    public static Tensor FromValues(Device device, in Shape shape, ReadOnlySpan<float> values)
    {
        Tensor tensor = Allocate(device, shape);
        tensor.CopyFrom(values);
        return tensor;
    }

    /// <summary>An integer vector, such as the labels of a batch.</summary>
    public static Tensor FromValues(Device device, ReadOnlySpan<int> values)
    {
        Tensor tensor = Zeros(device, new Shape(values.Length), ElementType.Int32);
        device.Upload(MemoryMarshal.AsBytes(values), tensor.Buffer);
        return tensor;
    }

    /// <summary>Uniform values in [low, high), from counter-based numbers.</summary>
    public static Tensor Uniform(Device device, in Shape shape, RandomKey key, float low = 0, float high = 1)
    {
        Tensor tensor = Allocate(device, shape);
        device.Random.Uniform(shape, key, low, high, tensor.Buffer);
        return tensor;
    }

    /// <summary>Normal values, from counter-based numbers.</summary>
    public static Tensor Normal(Device device, in Shape shape, RandomKey key, float mean = 0, float standardDeviation = 1)
    {
        Tensor tensor = Allocate(device, shape);
        device.Random.Normal(shape, key, mean, standardDeviation, tensor.Buffer);
        return tensor;
    }

    /// <summary>Overwrites the values, given in row-major order without padding.</summary>
    public void CopyFrom(ReadOnlySpan<float> values)
    {
        TensorHandle target = RequireType(ElementType.Float32);
        Shape shape = target.Shape;
        if (values.Length != shape.ElementCount)
        {
            throw new ArgumentException($"Shape {shape} holds {shape.ElementCount} values, but {values.Length} were given.", nameof(values));
        }

        target.Parameter?.ValueChanged();
        if (shape.Pitch == shape.Channels)
        {
            target.Device.Upload(MemoryMarshal.AsBytes(values), target.Storage!.Buffer);
            return;
        }

        float[] stored = new float[shape.StorageCount];
        for (int row = 0; row < shape.Rows; row++)
        {
            values.Slice(row * shape.Channels, shape.Channels).CopyTo(stored.AsSpan(row * shape.Pitch));
        }

        target.Device.Upload(MemoryMarshal.AsBytes(stored.AsSpan()), target.Storage!.Buffer);
    }

    /// <summary>Overwrites the stored elements as they are, padding included; allocates nothing. For batches that a loader laid out already.</summary>
    public void CopyFromStored<T>(ReadOnlySpan<T> stored)
        where T : unmanaged
    {
        ReadOnlySpan<byte> bytes = MemoryMarshal.AsBytes(stored);
        if (bytes.Length > Buffer.ByteLength)
        {
            throw new ArgumentException($"Shape {Shape} stores {Buffer.ByteLength} bytes, but {bytes.Length} were given.", nameof(stored));
        }

        Handle.Parameter?.ValueChanged();
        Device.Upload(bytes, Buffer);
    }

    /// <summary>The values in row-major order without padding, read back from the device; those of bfloat16 are float32 values too.</summary>
    public float[] ToArray()
    {
        TensorHandle source = RequireFloatingPoint();
        Shape shape = source.Shape;
        float[] stored = new float[shape.StorageCount];
        if (source.Type == ElementType.BFloat16)
        {
            ushort[] halves = new ushort[stored.Length];
            source.Device.Download(source.Storage!.Buffer, MemoryMarshal.AsBytes(halves.AsSpan()));
            for (int i = 0; i < stored.Length; i++)
            {
                stored[i] = BitConverter.Int32BitsToSingle(halves[i] << 16);
            }
        }
        else
        {
            source.Device.Download(source.Storage!.Buffer, MemoryMarshal.AsBytes(stored.AsSpan()));
        }

        if (shape.Pitch == shape.Channels)
        {
            return stored;
        }

        float[] values = new float[shape.ElementCount];
        for (int row = 0; row < shape.Rows; row++)
        {
            stored.AsSpan(row * shape.Pitch, shape.Channels).CopyTo(values.AsSpan(row * shape.Channels));
        }

        return values;
    }

    /// <summary>The integers of an integer vector.</summary>
    public int[] ToIntegers()
    {
        TensorHandle source = RequireType(ElementType.Int32);
        if (source.Shape.Rows != 1)
        {
            throw new InvalidOperationException($"Only integer vectors are read back; this tensor has shape {source.Shape}.");
        }

        int[] values = new int[source.Shape.Channels];
        source.Device.Download(source.Storage!.Buffer, MemoryMarshal.AsBytes(values.AsSpan()));
        return values;
    }

    /// <summary>The value of a tensor with one element.</summary>
    public float ToScalar()
    {
        TensorHandle source = RequireType(ElementType.Float32);
        if (source.Shape.ElementCount != 1)
        {
            throw new InvalidOperationException($"A scalar was asked of a tensor of shape {source.Shape}.");
        }

        float value = 0;
        source.Device.Download(source.Storage!.Buffer, MemoryMarshal.AsBytes(new Span<float>(ref value)));
        return value;
    }

    /// <summary>A copy of the data that is no part of any graph.</summary>
    public Tensor Clone()
    {
        Tensor copy = Allocate(Device, Shape, Type);
        Device.Copy(Buffer, copy.Buffer);
        return copy;
    }

    /// <summary>Makes this leaf collect a gradient in the next backward pass, as gradient checks do with inputs.</summary>
    /// <returns>The same tensor.</returns>
    public Tensor RequireGradient()
    {
        RequireFloatingPoint().RequiresGradient = true;
        return this;
    }

    /// <summary>
    /// The gradient that backward passes have added up at this leaf since it was last cleared, as a new tensor; for parameters see <see cref="Engine.Parameter.Gradient"/>.
    /// </summary>
    /// <exception cref="InvalidOperationException">No gradient arrived: the loss does not depend on this tensor, or it does not require one.</exception>
    public Tensor CopyGradient()
    {
        TensorHandle source = Handle;
        if (source.Gradient is null)
        {
            throw new InvalidOperationException("This tensor has no gradient: call RequireGradient before the forward pass, and Backward on a loss that depends on it.");
        }

        Tensor copy = Allocate(source.Device, source.Shape, source.Type);
        source.Device.Copy(source.Gradient.Buffer, copy.Buffer);
        return copy;
    }

    /// <summary>Forgets the gradient of this leaf; the next backward pass starts anew.</summary>
    public void ClearGradient() => Handle.ReleaseGradient();

    /// <summary>Runs the backward pass from this scalar loss; see <see cref="Tape.Backward(Tensor)"/>.</summary>
    public void Backward() => Tape.Current.Backward(this);

    /// <summary>Frees the data now instead of at the end of the scope. Disposing twice does nothing.</summary>
    public void Dispose()
    {
        if (handle is not null && handle.Version == version)
        {
            handle.DisposeData();
        }
    }

    /// <summary>x + y with broadcasting.</summary>
    public static Tensor operator +(Tensor left, Tensor right) => Operations.Operation.Add(left, right);

    /// <summary>x − y with broadcasting.</summary>
    public static Tensor operator -(Tensor left, Tensor right) => Operations.Operation.Subtract(left, right);

    /// <summary>x·y elementwise with broadcasting.</summary>
    public static Tensor operator *(Tensor left, Tensor right) => Operations.Operation.Multiply(left, right);

    /// <summary>x/y elementwise with broadcasting.</summary>
    public static Tensor operator /(Tensor left, Tensor right) => Operations.Operation.Divide(left, right);

    /// <summary>a·x.</summary>
    public static Tensor operator *(Tensor left, float right) => Operations.Operation.Affine(left, right, 0);

    /// <summary>a·x.</summary>
    public static Tensor operator *(float left, Tensor right) => Operations.Operation.Affine(right, left, 0);

    /// <summary>x + b.</summary>
    public static Tensor operator +(Tensor left, float right) => Operations.Operation.Affine(left, 1, right);

    /// <summary>x − b.</summary>
    public static Tensor operator -(Tensor left, float right) => Operations.Operation.Affine(left, 1, -right);

    /// <summary>−x.</summary>
    public static Tensor operator -(Tensor operand) => Operations.Operation.Negate(operand);

    /// <inheritdoc/>
    public bool Equals(Tensor other) => ReferenceEquals(handle, other.handle) && version == other.version;

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is Tensor other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(handle, version);

    /// <summary>Whether both are the same tensor, not whether their values are equal.</summary>
    public static bool operator ==(Tensor left, Tensor right) => left.Equals(right);

    /// <summary>Whether they are different tensors.</summary>
    public static bool operator !=(Tensor left, Tensor right) => !left.Equals(right);

    /// <inheritdoc/>
    public override string ToString() => IsNone ? "no tensor" : IsAlive ? $"{Type} {Shape} on {Device}" : "a freed tensor";

    /// <summary>A tensor of the innermost open scope.</summary>
    private static Tensor Own(TensorHandle handle)
    {
        EngineThread thread = EngineThread.Current;
        if (thread.ScopeDepth > 0)
        {
            thread.Scoped.Add(new ScopedTensor(handle, handle.Version, thread.ScopeDepth));
        }

        return new Tensor(handle);
    }

    private TensorHandle RequireFloatingPoint() => Handle.Type == ElementType.BFloat16 ? Handle : RequireType(ElementType.Float32);

    private TensorHandle RequireType(ElementType type)
    {
        TensorHandle target = Handle;
        if (target.Type != type)
        {
            throw new InvalidOperationException($"A {type} tensor is needed here, but this one holds {target.Type}.");
        }

        return target;
    }
}
